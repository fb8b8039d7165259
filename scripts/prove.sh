#!/usr/bin/env bash
# What takes too long for every commit. Each part fails if what it looks for is there, and the
# sanitizers also if they do not see a defect that is planted for them.
#
# Usage: scripts/prove.sh [part...]       all parts: limits threads soak models miri thread
#                                       address fuzz
#   SOAK_SECONDS=1800    how long the soak runs
#   FUZZ_SECONDS=300     how long each fuzz target runs
# The last four need a nightly toolchain with rust-src and miri, and cargo-fuzz; they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
triple=x86_64-unknown-linux-gnu

need_nightly() {
    rustup toolchain list | grep -q nightly || rustup toolchain install nightly --profile minimal
    rustup component add --toolchain nightly "$@" >/dev/null 2>&1
}

# 100 million live blocks, a million stacks.
limits() {
    HEAPLEDGER_TEST_LIVE_BLOCKS=${LIVE_BLOCKS:-100000000} HEAPLEDGER_TEST_SITES_LOG2=20 \
        cargo test --release --package heapledger --test limits -- --test-threads 1
}

# A hundred thousand threads one after another, ten thousand at once.
threads() {
    HEAPLEDGER_TEST_THREADS=100000 HEAPLEDGER_TEST_THREADS_AT_ONCE=10000 \
        cargo test --release --package heapledger --test lifecycle -- threads/
}

soak() {
    HEAPLEDGER_TEST_SOAK_SECONDS=${SOAK_SECONDS:-1800} \
        cargo test --release --package heapledger --test limits -- soak
}

# The gate between recording and reading, in every order that the memory model allows.
models() {
    cargo test --manifest-path tests/models/Cargo.toml --target-dir "$target"
}

# All tables and the walk, on Miri's machine.
miri() {
    need_nightly rust-src miri
    for module in record:: capture::walk capture::rules; do
        MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=${PROPTEST_CASES:-8} CARGO_INCREMENTAL=0 \
            cargo +nightly miri test --package heapledger --lib --target-dir "$target/miri" -- "$module"
    done
}

# $1: the sanitizer; then the arguments of `cargo test`. ThreadSanitizer has to see what the
# standard library does, too.
sanitized() {
    local sanitizer=$1 std=()
    shift
    [[ $sanitizer == thread ]] && std=(-Zbuild-std)
    RUSTFLAGS="-Zsanitizer=$sanitizer" CARGO_INCREMENTAL=0 \
        cargo +nightly test "${std[@]}" --target $triple --target-dir "$target/$sanitizer" \
        --package heapledger "$@"
}

# $1: what is planted, $2: what must be printed; then the command.
must_fail() {
    local defect=$1 expected=$2
    shift 2
    if HEAPLEDGER_PLANTED_DEFECT=$defect "$@" >"$target/planted.log" 2>&1; then
        echo "prove: the planted defect was not seen: $*" >&2
        exit 1
    fi
    grep -q "$expected" "$target/planted.log" || {
        cat "$target/planted.log"
        echo "prove: failed, but not with: $expected" >&2
        exit 1
    }
    echo "prove: the planted defect is seen"
}

thread() {
    need_nightly rust-src
    export TSAN_OPTIONS=halt_on_error=1
    # What it leaves out counts what threads get done in a certain time.
    sanitized thread --test lifecycle -- threads/ --skip application_locks
    sanitized thread --test lifecycle -- windows/
    sanitized thread --test lifecycle -- runs/
    must_fail race 'ThreadSanitizer: data race' \
        sanitized thread --test lifecycle -- runs/
}

address() {
    need_nightly rust-src
    # Frames are where the stack pointer is.
    export ASAN_OPTIONS=detect_stack_use_after_return=0:detect_leaks=0
    sanitized address --test lifecycle -- counts
    sanitized address --test lifecycle -- threads/ --skip application_locks
    sanitized address --test lifecycle -- stacks/deep --skip untrimmed
    must_fail 'use after free' 'AddressSanitizer: heap-use-after-free' \
        sanitized address --test lifecycle -- counts
}

fuzz() {
    need_nightly rust-src
    command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz
    (
        cd fuzz
        for name in $(cargo +nightly fuzz list); do
            mkdir -p "corpus/$name"
            cargo +nightly fuzz run --target-dir "$target/fuzz" "$name" "corpus/$name" "seeds/$name" -- \
                -max_total_time="${FUZZ_SECONDS:-300}" -rss_limit_mb=4096
        done
    )
}

[[ $# -gt 0 ]] || set -- limits threads soak models miri thread address fuzz
for part in "$@"; do
    echo
    echo "== $part"
    "$part"
done
