#!/bin/bash
# Profiles a published program that has nothing to do with this crate, with
# dhat-rs and with heapledger, and compares what they found and what they cost.
#
# The program is jql, a JSON query tool: it parses, copies and prints a file of
# 32 MB, and works on several threads if the query has a pipe. Its allocator is
# replaced by the system's, so that all three runs allocate from the same one.
#
# Fails if a run prints anything else than the plain program does, if the two
# profilers disagree on the run with one thread (with more, what jql allocates
# depends on which thread takes which work), or if a profile's points do not add
# up to its totals.
#
# Usage: scripts/profile-real-program.sh [records]
# Needs cargo and, at the first run, the crate registry; scripts/setup.sh installs the rest.
set -euo pipefail

program=jql
version=8.3.0
records=${1:-72000}

root=$(cd "$(dirname "$0")/.." && pwd)
"$root/scripts/setup.sh"
scratch=${CARGO_TARGET_DIR:-$root/target}/real-program
mkdir -p "$scratch"
scratch=$(cd "$scratch" && pwd)

# The folder that cargo unpacked the program's source to.
fetch_source() {
    mkdir -p "$scratch/fetch/src"
    : >"$scratch/fetch/src/lib.rs"
    cat >"$scratch/fetch/Cargo.toml" <<END
[package]
name = "fetch"
edition = "2024"
[workspace]
[dependencies]
$program = "=$version"
END
    # Cargo warns that the dependency has no library, and unpacks it all the same.
    cargo fetch --quiet --manifest-path "$scratch/fetch/Cargo.toml" 2>/dev/null
    ls -d "${CARGO_HOME:-$HOME/.cargo}/registry/src/"*/"$program-$version"
}

# The dependency that a variant is profiled with; none for the plain program.
dependency_of() {
    case $1 in
    plain) ;;
    dhat-rs) echo 'dhat = "=0.3.3"' ;;
    heapledger) echo "dhat = { package = \"heapledger\", path = \"$root\" }" ;;
    esac
}

# Builds the variant $1 of the source in $2 as $scratch/$1/jql: the same name
# for each, because a program copies its own name to the heap.
build_variant() {
    local source=$scratch/source-$1 dependency
    dependency=$(dependency_of "$1")
    rm -rf "$source"
    cp -r "$2" "$source"
    chmod -R u+w "$source"
    sed -i -e '/mimalloc/d; /MiMalloc/d; /loongarch64/d; /^#\[global_allocator\]/d' "$source/src/main.rs"
    printf '[workspace]\n[profile.release]\ndebug = "line-tables-only"\n' >>"$source/Cargo.toml"
    if [[ -n $dependency ]]; then
        sed -i "0,/^\[dependencies\./s|^\[dependencies\.|[dependencies]\n$dependency\n\n&|" "$source/Cargo.toml"
        sed -i 's/^fn main() .*{$/#[global_allocator]\nstatic ALLOC: dhat::Alloc = dhat::Alloc;\n\n&\n    let _profiler = dhat::Profiler::new_heap();/' "$source/src/main.rs"
        grep -q 'Profiler::new_heap' "$source/src/main.rs"
    fi
    cargo build --quiet --release --manifest-path "$source/Cargo.toml" --target-dir "$scratch/target"
    mkdir -p "$scratch/$1"
    cp "$scratch/target/release/$program" "$scratch/$1/"
}

# The same log of requests as JSON at every run.
generate_input() {
    awk -v records="$records" '
        BEGIN {
            split("GET POST PUT DELETE PATCH HEAD", methods)
            split("/api/v1/orders /api/v1/users /search /static/app.js /health /api/v2/items", paths)
            split("eu-central us-east ap-south sa-west", regions)
            random = 42
            printf "{\"source\":\"access-log\",\"records\":["
            for (n = 0; n < records; n++) {
                # The minimal standard generator: exact in floating point.
                random = (random * 16807) % 2147483647
                if (n) printf ","
                printf "\n{\"id\":%d,\"time\":\"2026-03-01T%02d:%02d:%02d.%03dZ\"", n, n / 3600 % 24, n / 60 % 60, n % 60, random % 1000
                printf ",\"request\":{\"method\":\"%s\",\"path\":\"%s/%d\",\"query\":null,\"secure\":true}", methods[1 + random % 6], paths[1 + int(random / 7) % 6], random % 99991
                printf ",\"status\":%d,\"took_ms\":%.3f,\"bytes\":%d", 200 + 100 * (random % 4), random / 65536 % 900, random % 70000
                printf ",\"client\":{\"address\":\"10.%d.%d.%d\",\"region\":\"%s\"", random % 256, int(random / 256) % 256, int(random / 65536) % 256, regions[1 + random % 4]
                printf ",\"agent\":\"Mozilla/5.0 (X11; Linux x86_64; rv:%d.0) Gecko/20100101 Firefox/%d.0\"}", 100 + random % 40, 100 + random % 40
                printf ",\"tags\":["
                for (tag = 0; tag < random % 5; tag++) printf "%s\"tag-%d\"", tag ? "," : "", (random + tag * 31) % 500
                printf "],\"note\":\""
                for (word = 0; word < 8 + random % 9; word++) printf "%sword%d", word ? " " : "", (random + word * 7919) % 10007
                printf "\"}"
            }
            printf "\n]}\n"
        }' >"$scratch/input.json"
}

# Runs and compares; everything is in the folder $1.
compare() {
    python3 - "$1" "$program" <<'END'
import collections, hashlib, json, os, re, subprocess, sys, time

folder, program = sys.argv[1:]
VARIANTS = ["plain", "dhat-rs", "heapledger"]
ONE, MANY = "one thread", f"{os.cpu_count()} worker threads"
RUNS = [
    (ONE, {"RAYON_NUM_THREADS": "1"}, '"records"'),
    (MANY, {}, '"records"|>{"id","request","client"}'),
]
# Lines of the summary, and the keys of a program point that add up to them.
LINES = {"Total": ("tb", "tbk"), "At t-gmax": ("gb", "gbk"), "At t-end": ("eb", "ebk")}
failures = []

def check(holds, sentence):
    if not holds:
        failures.append(sentence)

def run(variant, environment, query):
    """One run: what it printed, what it cost and what its profile holds."""
    here = os.path.join(folder, variant)
    command = ["./" + program, query, "../input.json"]
    with open(os.path.join(here, "stderr"), "w+") as stderr:
        start = time.monotonic()
        child = subprocess.Popen(command, cwd=here, env={**os.environ, **environment},
                                 stdout=subprocess.PIPE, stderr=stderr)
        printed = hashlib.sha256()
        while part := child.stdout.read(1 << 20):
            printed.update(part)
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        stderr.seek(0)
        said = stderr.read()
    check(status == 0, f"{variant}: wait status {status}: {said}")
    result = {"printed": printed.hexdigest(), "seconds": seconds,
              "cpu_seconds": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}
    return result if variant == "plain" else result | read_profile(variant, here, said)

def read_profile(variant, here, said):
    with open(os.path.join(here, "dhat-heap.json")) as file:
        profile = json.load(file)
    figures = {}
    for line, keys in LINES.items():
        words = re.search(rf": {line}: +([\d,]+) bytes in ([\d,]+) blocks", said)
        figures[line] = tuple(int(n.replace(",", "")) for n in words.groups()) if words else None
        sums = tuple(sum(point[key] for point in profile["pps"]) for key in keys)
        check(figures[line] == sums, f"{variant}: {line} is {figures[line]}, its points add up to {sums}")
    keys = [key for pair in LINES.values() for key in pair] + ["mb", "mbk"]
    points = collections.Counter(tuple(point[key] for key in keys) for point in profile["pps"])
    frames = profile["ftbl"][1:]
    named = sum("???" not in frame for frame in frames)
    depth = max(len(point["fs"]) for point in profile["pps"])
    notes = [line for line in said.splitlines() if re.search(r"at most|lower bound|not recorded|end early", line)]
    return {"figures": figures, "points": points, "frames": len(frames),
            "named": named, "depth": depth, "notes": notes}

def amount(pair):
    return "none" if pair is None else f"{pair[0]:,} bytes in {pair[1]:,}"

def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())

def verdict(ours, theirs):
    if ours == theirs:
        return "equal"
    return "{:+,} bytes in {:+,}".format(*(a - b for a, b in zip(ours, theirs)))

for title, environment, query in RUNS:
    results = {variant: run(variant, environment, query) for variant in VARIANTS}
    plain, dhat_rs, ours = (results[variant] for variant in VARIANTS)
    print(f"\n{program} {query!r}, {title}\n")
    rows = [["", "dhat-rs", "heapledger", ""]]
    for line in LINES:
        pair = dhat_rs["figures"][line], ours["figures"][line]
        said = verdict(pair[1], pair[0])
        rows.append([line, *map(amount, pair), said])
        check(title != ONE or said == "equal", f"{title}: {line} {said}")
    both = dhat_rs, ours
    shared = (dhat_rs["points"] & ours["points"]).total()
    rows.append(["program points", *(f"{r['points'].total():,}" for r in both), f"{shared:,} have equal figures"])
    rows.append(["longest stack", *(f"{r['depth']:,} frames" for r in both), ""])
    rows.append(["frames named", *(f"{r['named']:,} of {r['frames']:,} ({100 * r['named'] / r['frames']:.1f} %)" for r in both), ""])
    table(rows)
    print()
    table([["", "wall time", "CPU time", "CPU time / plain", "peak memory"]] + [
        [variant, f"{r['seconds']:.2f} s", f"{r['cpu_seconds']:.2f} s",
         f"{r['cpu_seconds'] / plain['cpu_seconds']:.1f}", f"{r['mib']:,.0f} MiB"]
        for variant, r in results.items()])
    print("".join(f"\n  {note}" for note in ours["notes"]))
    for variant in VARIANTS[1:]:
        check(results[variant]["printed"] == plain["printed"], f"{title}: {variant} changes what the program prints")

print()
for failure in failures:
    print("FAILED:", failure)
if failures:
    sys.exit(1)
print("The program prints the same in all runs; with one thread, both profilers found the same.")
END
}

# Valgrind's own viewer must open the profile, too.
open_in_viewer() {
    (cd "$root" && cargo run --quiet --package viewer-compat --bin screenshot -- \
        "$scratch/heapledger/dhat-heap.json" "$scratch/viewer.png" --sort 'At t-gmax (bytes)')
    printf 'The DHAT viewer opens it: %s\n' "$scratch/viewer.png"
}

source=$(fetch_source)
for variant in plain dhat-rs heapledger; do
    build_variant "$variant" "$source"
done
generate_input
printf '%s %s on %s MB of JSON\n' "$program" "$version" "$(($(wc -c <"$scratch/input.json") / 1000000))"
compare "$scratch"
printf 'The profile: %s\n' "$scratch/heapledger/dhat-heap.json"
open_in_viewer
