#!/usr/bin/env bash
# Runs all that docs/guide.md tells of, and puts what was printed into its blocks (each stands behind a
# comment with the block's name) and the pictures into docs/. Where perf is missing or not permitted it
# says so and goes on: what the guide shows of perf then stays as it was.
#
# Usage: scripts/guide.sh
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh

root=$PWD
out=${CARGO_TARGET_DIR:-target}/guide
mkdir -p "$out"
out=$(cd "$out" && pwd)
flags=(--config 'build.rustflags=["-Cforce-frame-pointers=yes"]' --target-dir "$out")

say() { echo; echo "== $*"; }

# Where this repository lies is nobody's concern.
without_root() { sed "s|$root/||g"; }

# Prints and keeps what a command prints, as the block of that name.
block() {
    local name=$1
    shift
    say "$name"
    "$@" 2>&1 | without_root | tee "$out/$name.txt"
}

say "building"
cargo build --quiet --release "${flags[@]}" --example log_before --example log_after --example json_service
cargo build --quiet --package heapledger-cli --package viewer-compat --bin heapledger --bin screenshot
bench=$(cargo bench "${flags[@]}" --bench log_program --no-run --message-format json 2>/dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == "log_program":
        print(message["executable"])')
tools=$(cargo metadata --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug
PATH=$out/tools/bin:$PATH

# The functions that most samples are in, of a file of folded stacks.
hottest() {
    python3 - "$1" <<'END'
import collections, sys
ALLOCATOR = {"malloc", "calloc", "realloc", "free", "cfree", "_int_malloc", "_int_free", "_int_realloc",
             "unlink_chunk", "malloc_consolidate", "tcache_init", "__libc_malloc", "__libc_free"}
own, total, allocator = collections.Counter(), 0, 0
for line in open(sys.argv[1], encoding="utf-8"):
    stack, count = line.rsplit(" ", 1)
    frames = {frame.split(".")[0].split("@")[0] for frame in stack.split(";")}
    allocator += int(count) * bool(frames & ALLOCATOR)
    own[stack.rsplit(";", 1)[-1]] += int(count)
    total += int(count)
for name, count in own.most_common(6):
    print(f"{100 * count / total:5.1f} %  {name}")
print(f"{100 * allocator / total:5.1f} %  in malloc, realloc and free, with what they call")
END
}

# Under this crate: are its frames seen, and does the unwinding get through them to the program's?
through_us() {
    python3 - "$1" <<'END'
import sys
total = ours = through = 0
for line in open(sys.argv[1], encoding="utf-8"):
    stack, count = line.rsplit(" ", 1)
    frames, count = stack.split(";"), int(count)
    total += count
    at = next((n for n, frame in enumerate(frames) if frame.startswith("heapledger::engine")), None)
    if at is not None:
        ours += count
        through += count * any("log_before" in frame for frame in frames[1:at])
print(f"{100 * ours / total:.0f} % of the samples are in `heapledger::engine`")
print(f"{100 * through / max(ours, 1):.0f} % of these lead on to the program's `main`")
sys.exit(not (ours > 0 and through > 0.9 * ours))
END
}

sampled() {
    perf record --quiet --event cpu-clock --freq 2000 --call-graph fp --output "$out/$1.data" -- "${@:2}" \
        >/dev/null 2>"$out/$1.err" || return
    perf script --input "$out/$1.data" 2>/dev/null | inferno-collapse-perf --skip-after main >"$out/$1.folded" 2>/dev/null
    [[ -s $out/$1.folded ]]
}

cp "$out"/release/examples/{log_before,log_after,json_service} "$out"

say "CPU time: perf and inferno"
command -v inferno-collapse-perf >/dev/null || cargo install --quiet --root "$out/tools" inferno --version 0.12.8
cd "$out"
if ! command -v perf >/dev/null; then
    echo "perf is not installed (Debian: linux-perf): CPU profiles are left out"
elif ! sampled cpu-before "$bench" --bench --profile-time 4 before; then
    echo "perf is not permitted here: CPU profiles are left out"
    tail -n 3 "$out/cpu-before.err"
else
    sampled cpu-after "$bench" --bench --profile-time 4 after
    block cpu-before hottest cpu-before.folded
    block cpu-after hottest cpu-after.folded
    inferno-flamegraph --title 'CPU time, before' --hash cpu-before.folded >cpu-before.svg
    inferno-diff-folded --normalize cpu-after.folded cpu-before.folded |
        inferno-flamegraph --negate --title 'CPU time, before; blue: what became less' >cpu-change.svg
    sampled under-us ./log_before
    block under-us through_us under-us.folded
fi

say "allocations: heapledger"
block summary-before ./log_before
without_root <log_before.json >profile.json && mv profile.json log_before.json
block top-before "$tools/heapledger" top log_before.json --by total-blocks -n 3
block summary-after ./log_after
block change "$tools/heapledger" diff log_before.json log_after.json --by total-blocks --flame change.svg
"$tools/heapledger" flame log_before.json --by total-blocks --lines -o before.svg --title 'Allocated blocks, before'
"$tools/heapledger" convert log_before.json --to speedscope -o before.speedscope.json
"$tools/heapledger" convert log_before.json --to pprof -o before.pb.gz
"$tools/heapledger" convert log_before.json --to firefox -o before.firefox.json
block pprof go tool pprof -top -sample_index=alloc_objects before.pb.gz
firefox() {
    local script=$root/viewer-compat/viewers/node_modules/@firefox-devtools/profiler-cli/dist/profiler-cli.js
    export PROFILER_CLI_SESSION_DIR=$out/firefox
    # Its server has half a second to start; on a busy machine that takes a few attempts.
    local attempt
    for attempt in {1..20}; do
        ! node "$script" load before.firefox.json >/dev/null 2>&1 || break
        node "$script" stop --all >/dev/null 2>&1 || true
    done
    node "$script" thread functions --limit 4
    node "$script" stop --all >/dev/null
}
block firefox firefox

say "time: criterion"
"$bench" --bench --noplot 2>/dev/null | grep -E '^(before|after)? +time:' >criterion.out || true
block criterion cat criterion.out

say "the report"
./json_service >/dev/null 2>&1
"$tools/heapledger" report json_service.json

say "pictures"
picture() { "$tools/screenshot" "$1" "$root/docs/$2" --width 1200 --height "${3:-700}" && echo "docs/$2"; }
picture log_before.json dhat-viewer.png 1500
picture json_service.html report.png 760
picture before.svg flame-graph.png
picture change.svg flame-graph-change.png
picture before.speedscope.json speedscope.png 420
[[ ! -s cpu-change.svg ]] || { picture cpu-before.svg cpu-before.png; picture cpu-change.svg cpu-change.png; }

say "docs/guide.md"
python3 - "$root/docs/guide.md" "$out" <<'END'
import pathlib, re, sys
guide, out = map(pathlib.Path, sys.argv[1:])
def renewed(match):
    file = out / f"{match[1]}.txt"
    text = file.read_text() if file.exists() else match[3]
    return f"<!-- {match[1]} -->\n```{match[2]}\n{text.rstrip()}\n```"
text = guide.read_text()
new = re.sub(r"<!-- ([\w-]+) -->\n```(\w*)\n(.*?)\n?```", renewed, text, flags=re.S)
guide.write_text(new)
print("changed" if new != text else "as it was")
END
