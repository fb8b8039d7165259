#!/usr/bin/env bash
# Runs every test, on a fresh machine too. A viewer that cannot be installed is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cargo test --workspace

# Optimized code has other frames: inlined, merged, without frame pointers. Whatever must hold for those
# as well is run again here.
cargo test --release --package heapledger --tests
cargo test --release --package viewer-compat --test heapledger_profile
