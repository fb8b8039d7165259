#!/usr/bin/env bash
# Installs what the tests need beside Rust: the programs that open our files, and Chromium for those that
# are web pages.
# Does nothing, in no time, when all of it is there. Works with Debian's and Ubuntu's apt.
set -euo pipefail

have_command() { command -v "$1" >/dev/null 2>&1; }

have_chromium() {
    [[ -n "${CHROMIUM:-}" && -x "${CHROMIUM:-}" ]] ||
        have_command chromium || have_command chromium-browser || have_command google-chrome
}

# The same folders as in viewer-compat/src/programs.rs.
have_viewer() {
    local dir
    for dir in ${DHAT_VIEWER_DIR:+"$DHAT_VIEWER_DIR"} /usr/libexec/valgrind /usr/lib/valgrind \
        /usr/lib/x86_64-linux-gnu/valgrind /usr/local/libexec/valgrind /usr/local/lib/valgrind; do
        [[ -f "$dir/dh_view.html" && -f "$dir/dh_view.js" ]] && return
    done
    return 1
}

# Without a fixed-width font that has them the viewer's tree lines are empty boxes.
have_font() {
    compgen -G '/usr/share/fonts/*/*/DejaVuSansMono.ttf' >/dev/null
}

# The packages that are lacking, one a line.
lacking() {
    { have_viewer && have_command valgrind; } || echo valgrind
    have_chromium || echo chromium
    have_font || echo fonts-dejavu-core
    have_command cc || echo gcc libc6-dev
    have_command python3 || echo python3
    have_command awk || echo mawk
    have_command go || echo golang-go
    have_command node || echo nodejs
    have_command npm || echo npm
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif have_command sudo; then
        sudo -n "$@"
    else
        echo "setup: not root, and there is no sudo to run: $*" >&2
        return 1
    fi
}

fail() {
    echo "setup: $*" >&2
    exit 1
}

have_command cargo || fail "cargo is not installed: see https://rustup.rs"

mapfile -t packages < <(lacking | tr ' ' '\n')
if [[ ${#packages[@]} -gt 0 ]]; then
    echo "setup: installing ${packages[*]}"
    have_command apt-get || fail "no apt-get here; install by hand: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -qq -o DPkg::Lock::Timeout=120 ||
        fail "apt-get update failed; still lacking: ${packages[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "${packages[@]}" >/dev/null ||
        fail "apt-get could not install: ${packages[*]}"
    mapfile -t packages < <(lacking | tr ' ' '\n')
    [[ ${#packages[@]} -eq 0 ]] || fail "installed, but still not found: ${packages[*]}"
fi

# Those of npm lie beside viewer-compat, in the versions that its lock file names.
viewers="$(dirname "$0")/../viewer-compat/viewers"
if ! cmp -s "$viewers/package-lock.json" "$viewers/node_modules/.installed"; then
    echo "setup: installing what $viewers/package.json names"
    (cd "$viewers" && npm ci --no-audit --no-fund --ignore-scripts --loglevel error >/dev/null) ||
        fail "npm could not install what $viewers/package.json names"
    cp "$viewers/package-lock.json" "$viewers/node_modules/.installed"
fi
