#!/usr/bin/env bash
# Runs programs of tests/exact/fixture twice, built with the flags of an exact build, and as they are under
# Valgrind's DHAT, and compares what both count. Fails if they differ where nothing explains it.
#   scripts/compare-with-valgrind.sh              small cases, in seconds
#   scripts/compare-with-valgrind.sh --programs   three programs: also what each way costs, in minutes
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
what=${1:-}
case "$what" in
    "" | --programs) ;;
    *)
        echo "compare-with-valgrind: no such option: $what; the only one is --programs" >&2
        exit 1
        ;;
esac
command -v valgrind >/dev/null || {
    echo "compare-with-valgrind: there is no valgrind; scripts/setup.sh installs it" >&2
    exit 1
}

triple=x86_64-unknown-linux-gnu
target=${EXACT_TARGET_DIR:-$root/target/exact}
flags=$("$root/scripts/exact-flags.sh")

programs=(--bin micro --bin programs)
# The program that compares is no profiled one, and does not link with the flags.
build() {
    cargo build --quiet --manifest-path "$root/Cargo.toml" --package exact-fixture --release \
        --target "$triple" "$@"
}
plain="$target/plain/$triple/release"
exact="$target/exact/$triple/release"
CARGO_TARGET_DIR="$target/plain" build "${programs[@]}" --bin compare --bin measure
CARGO_TARGET_DIR="$target/exact" CARGO_ENCODED_RUSTFLAGS="$flags" build "${programs[@]}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
if [[ -z "$what" ]]; then
    valgrind --tool=dhat --num-callers=40 --dhat-out-file=valgrind.json --log-file=valgrind.log \
        "$plain/micro" || { cat valgrind.log >&2; exit 1; }
    "$exact/micro" ours.json 2>ours.log || { cat ours.log >&2; exit 1; }
    "$plain/compare" ours.json valgrind.json
else
    # Fat LTO: the profile is the command line's, so that other builds need not know it.
    lto=(CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1)
    (
        export "${lto[@]}"
        CARGO_TARGET_DIR="$target/lto-plain" build --bin programs
        CARGO_TARGET_DIR="$target/lto-exact" CARGO_ENCODED_RUSTFLAGS="$flags" build --bin programs
    )
    "$plain/measure" "$plain" "$exact" \
        "$target/lto-plain/$triple/release" "$target/lto-exact/$triple/release"
fi
