#!/usr/bin/env bash
# Runs every test, on a fresh machine too. A viewer that cannot be installed is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
cargo test --workspace
# What C and C++ code allocates: a package of its own, with the feature `interpose`.
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
cargo test --manifest-path tests/interpose/Cargo.toml --target-dir "$target"
# Allocations by span: likewise, with the feature `tracing`.
cargo test --manifest-path tests/tracing/Cargo.toml --target-dir "$target"

# Optimized code has other frames: inlined, merged, without frame pointers. Whatever must hold for those
# as well is run again here.
# The comparison with dhat-rs (tests/dhat_compat.rs) builds both ways by itself, so once is enough.
cargo test --release --package heapledger --tests -- --skip debug_build --skip release_build
cargo test --release --package viewer-compat --test heapledger_profile
