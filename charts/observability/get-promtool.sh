#!/usr/bin/env bash
# Prints the path of a promtool, for make test-alerts. In this order: $PROMTOOL, one on
# PATH, the one in the user's cache, and Debian's from its package prometheus, which is
# only unpacked there: nothing is installed, and no Prometheus runs. apt checks what it
# downloads. Exit code 3: none can be had here.
set -euo pipefail

if [[ -n "${PROMTOOL:-}" ]]; then command -v "$PROMTOOL"; exit; fi
if command -v promtool; then exit 0; fi
dir=${XDG_CACHE_HOME:-$HOME/.cache}/claimgate/promtool
binary=$dir/usr/bin/promtool
if [[ ! -x "$binary" ]]; then
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
        echo "no promtool: put it on PATH, or name it in the variable PROMTOOL" >&2
        exit 3
    }
    new=$(mktemp -d)
    trap 'rm -rf "$new"' EXIT
    cd "$new"
    apt-get download -qq prometheus >&2 || {
        { ((EUID == 0)) && apt-get update -qq && apt-get download -qq prometheus; } >&2 ||
            { echo "no promtool: apt-get download prometheus failed" >&2; exit 3; }
    }
    mkdir -p unpacked "$(dirname "$dir")"
    dpkg-deb -x prometheus_*.deb unpacked
    mkdir -p "$dir/usr/bin"
    mv unpacked/usr/bin/promtool "$binary.new"
    mv "$binary.new" "$binary"
fi
printf '%s\n' "$binary"
