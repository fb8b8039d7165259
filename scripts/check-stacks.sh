#!/usr/bin/env bash
# Compares the stacks that the walk finds, with and without its memo, with those that the
# platform's unwinder finds: a million random ones in each of the builds below, and in the one with
# frame pointers those that the walk by them finds. Takes minutes.
#
# Usage: scripts/check-stacks.sh [captures]
set -euo pipefail
cd "$(dirname "$0")/.."

captures=${1:-1000000}
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

check() {
    local name=$1 flags=$2
    shift 2
    printf '%-28s ' "$name"
    HEAPLEDGER_TEST_CAPTURES=$captures RUSTFLAGS=$flags \
        cargo test --quiet --package heapledger --lib --target-dir "$target/check-stacks/${name// /-}" "$@" \
        -- --nocapture random_stacks_are_the_platforms frame_pointers |
        grep -oE '[0-9]+ captures of .*|^test result: .*failed'
}

check "debug" ""
check "release" "" --release
HEAPLEDGER_TEST_FRAME_POINTERS=1 \
    check "frame pointers" "-C force-frame-pointers=yes" --release
check "fat LTO, stripped" "" --release --config 'profile.release.lto="fat"' --config 'profile.release.strip=true'
check "optimized for size" "" --release --config 'profile.release.opt-level="z"'
