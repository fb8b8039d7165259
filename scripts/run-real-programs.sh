#!/bin/bash
# Runs published programs that have nothing to do with this crate with heapledger inside, and
# fails if they print anything else than they do without, if a profile's points do not add up
# to its totals, if anything was not recorded, or if one does not end.
#
#   ripgrep   searches the sources in cargo's registry, on all processors
#   bore      a tunnel on tokio: both of its ends, with a thousand connections through it
#
# Usage: scripts/run-real-programs.sh
# Needs cargo, python3 and, at the first run, the crate registry. See profile-real-program.sh for one
# program beside dhat-rs.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
scratch=${CARGO_TARGET_DIR:-$root/target}/real-programs
mkdir -p "$scratch"
scratch=$(cd "$scratch" && pwd)

# The folder that cargo unpacked the source of $1 to, version $2.
source_of() {
    mkdir -p "$scratch/fetch-$1/src"
    : >"$scratch/fetch-$1/src/lib.rs"
    printf '[package]\nname = "fetch"\nedition = "2024"\n[workspace]\n[dependencies]\n%s = "=%s"\n' \
        "$1" "$2" >"$scratch/fetch-$1/Cargo.toml"
    # Cargo warns that the dependency has no library, and unpacks it all the same.
    cargo fetch --quiet --manifest-path "$scratch/fetch-$1/Cargo.toml" 2>/dev/null
    ls -d "${CARGO_HOME:-$HOME/.cargo}/registry/src/"*/"$1-$2"
}

# Builds the program $3 of package $1, version $2, whose main function is in $4, without and
# with the profiler, as $scratch/plain/$3 and $scratch/heapledger/$3.
build() {
    local package=$1 version=$2 program=$3 main=$4 from variant copy
    from=$(source_of "$package" "$version")
    for variant in plain heapledger; do
        copy=$scratch/source-$program-$variant
        rm -rf "$copy"
        cp -r "$from" "$copy"
        chmod -R u+w "$copy"
        printf '\n[workspace]\n' >>"$copy/Cargo.toml"
        if [[ $variant == heapledger ]]; then
            printf '[dependencies.heapledger]\npath = "%s"\n' "$root" >>"$copy/Cargo.toml"
            sed -i '0,/^\(pub \)\?\(async \)\?fn main() .*{$/s//#[global_allocator]\nstatic HEAPLEDGER: heapledger::Alloc = heapledger::Alloc;\n\n&\n    let _profiler = heapledger::Profiler::new_heap();/' "$copy/$main"
            # An attribute of `main` belongs to `main`.
            python3 - "$copy/$main" <<'END'
import re, sys
path = sys.argv[1]
text = open(path).read()
text = re.sub(r"(#\[tokio::main\]\n)(#\[global_allocator\]\n.*\n\n)", r"\2\1", text)
assert "Profiler::new_heap" in text, f"{path}: no main function was found"
open(path, "w").write(text)
END
        fi
        cargo build --quiet --release --config 'profile.release.debug="line-tables-only"' \
            --config 'profile.release.strip=false' --bin "$program" \
            --manifest-path "$copy/Cargo.toml" --target-dir "$scratch/target"
        mkdir -p "$scratch/$variant"
        cp "$scratch/target/release/$program" "$scratch/$variant/"
    done
}

build ripgrep 14.1.1 rg crates/core/main.rs
build bore-cli 0.6.0 bore src/main.rs

python3 - "$scratch" "$(dirname "$(source_of ripgrep 14.1.1)")" <<'END'
import collections, hashlib, json, os, re, socket, subprocess, sys, threading, time

scratch, registry = sys.argv[1:]
failures = []
LINES = {"Total": ("tb", "tbk"), "At t-gmax": ("gb", "gbk"), "At t-end": ("eb", "ebk")}

def check(holds, sentence):
    if not holds:
        failures.append(sentence)

def start(variant, name, command, **options):
    folder = os.path.join(scratch, "runs", variant, name)
    os.makedirs(folder, exist_ok=True)
    for old in os.listdir(folder):
        os.remove(os.path.join(folder, old))
    program = os.path.join(scratch, variant, command[0])
    stderr = open(os.path.join(folder, "stderr"), "w")
    child = subprocess.Popen([program, *command[1:]], cwd=folder, stderr=stderr, **options)
    child.folder, child.variant, child.name = folder, variant, name
    return child

def profile(child):
    """What the program left beside its own output."""
    said = open(os.path.join(child.folder, "stderr")).read()
    if child.variant == "plain":
        check("heapledger" not in said, f"{child.name}: the plain program has a profiler")
        return ""
    file = json.load(open(os.path.join(child.folder, "dhat-heap.json")))
    for line, keys in LINES.items():
        found = re.search(rf"heapledger: {line}: +([\d,]+) bytes in ([\d,]+) blocks", said)
        told = tuple(int(n.replace(",", "")) for n in found.groups())
        sums = tuple(sum(point[key] for point in file["pps"]) for key in keys)
        check(told == sums, f"{child.name}: {line} is {told}, its points add up to {sums}")
        if line == "Total":
            total = told
    refused = {key: n for key, n in file["heapledger"]["refused"].items() if n}
    check(not refused, f"{child.name}: {refused}")
    return f"{total[1]:,} blocks of {total[0]:,} bytes recorded at {len(file['pps']):,} points"

def finish(child, status=0):
    _, code, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(code)
    check(child.returncode == status, f"{child.name}, {child.variant}: ends with {child.returncode}")
    print(f"  {child.name:14} {child.variant:11} {used.ru_utime + used.ru_stime:6.2f} s CPU, "
          f"{used.ru_maxrss / 1024:4.0f} MiB  {profile(child)}")

def searches():
    outputs = {}
    for variant in ("plain", "heapledger"):
        child = start(variant, "ripgrep", ["rg", "-n", "-j4", r"\bunsafe\s+fn\s+\w+", registry],
                      stdout=subprocess.PIPE)
        # Threads print files in the order in which they are through with them.
        lines = sorted(child.stdout.read().splitlines())
        finish(child)
        outputs[variant] = (len(lines), hashlib.sha256(b"\n".join(lines)).hexdigest())
    check(outputs["plain"] == outputs["heapledger"], f"ripgrep prints something else: {outputs}")
    check(outputs["plain"][0] > 1000, f"ripgrep has found nothing: {outputs}")

CONNECTIONS, AT_ONCE = 1000, 20

def reply(number):
    return hashlib.sha256(str(number).encode()).digest() * (1 + number % 500)

def serve(listener):
    """Answers a number with that many bytes."""
    def answer(connection):
        with connection:
            # Whoever only looks whether the tunnel is there says nothing.
            if line := connection.makefile().readline():
                connection.sendall(reply(int(line)))
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(connection,), daemon=True).start()

def fetch(port, numbers, bad):
    for number in numbers:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(f"{number}\n".encode())
                got = b""
                while part := connection.recv(1 << 16):
                    got += part
        except OSError as error:
            got = str(error).encode()
        if got != reply(number):
            bad.append(number)

def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False

def tunnels():
    for variant in ("plain", "heapledger"):
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        server = subprocess.Popen([os.path.join(scratch, "plain", "bore"), "server", "--min-port", "20000"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        check(wait_for(7835), "bore's server does not listen")
        client = start(variant, "bore", ["bore", "local", str(listener.getsockname()[1]),
                                         "--to", "127.0.0.1", "--port", "23456"],
                       stdout=subprocess.DEVNULL)
        check(wait_for(23456), f"bore, {variant}: does not connect")
        bad = []
        threads = [threading.Thread(target=fetch, args=(23456, range(first, CONNECTIONS, AT_ONCE), bad))
                   for first in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not bad, f"bore, {variant}: {len(bad)} of {CONNECTIONS} answers are wrong")
        # The other end goes; this one ends in order.
        server.kill()
        server.wait()
        finish(client, status=0)
        listener.close()

searches()
tunnels()
for failure in failures:
    print("FAILED:", failure)
sys.exit(bool(failures))
END
echo "The programs print the same with the profiler as without, and end."
