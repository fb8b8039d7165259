#!/usr/bin/env bash
# Prints the flags of an exact build as the value of CARGO_ENCODED_RUSTFLAGS:
#   CARGO_ENCODED_RUSTFLAGS=$(scripts/exact-flags.sh) cargo build --release --target x86_64-unknown-linux-gnu
# With --copies, those of a build that can profile copies and nothing else.
set -euo pipefail
flags="$(dirname "$0")/../exact-flags.txt"
case "${1:-}" in
    "") wanted='^-' ;;
    --copies) wanted='^-Clink-arg=' ;;
    *)
        echo "exact-flags: no such option: $1; the only one is --copies" >&2
        exit 1
        ;;
esac
grep -e "$wanted" "$flags" | tr '\n' '\037' | sed 's/\x1f$//'
