#!/bin/sh
# The engine on 64-bit Arm, on a machine of another kind: compiled and run under qemu-user, its bits compared with those
# that reference/engine_bits.json holds. For a nightly run.
#
#   apt-get install debootstrap qemu-user python3-pip
#   sh reference/aarch64.sh [FOLDER]          FOLDER keeps the packages and the compiled engine (default .aarch64)
#
# Debian's packages are unpacked, not installed: no root rights, no chroot, no binfmt. The first run downloads 150 MB and
# keeps 600 MB; it compiles the engine twice, some ten minutes of one idle core; a second run with the same sources
# takes one minute. LIMIT=7200 allows more seconds than the 2400 of the default.
# Exit status: 0 all digests as stored, 1 another one, 2 a program is missing, 124 out of time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-.aarch64}
suite=${SUITE:-bookworm}
version=${VERSION:-3.11} # of Python in that suite
limit=${LIMIT:-2400}
python=${PYTHON:-python3}
PATH=$PATH:/usr/sbin

for program in debootstrap qemu-aarch64 dpkg-deb timeout "$python"; do
    command -v "$program" >/dev/null || {
        echo "$program is missing: apt-get install debootstrap qemu-user dpkg coreutils python3-pip" >&2
        exit 2
    }
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

if [ ! -e "$folder/root.whole" ]; then
    rm -rf "$folder/packages" "$folder/root"
    debootstrap --download-only --variant=minbase --arch=arm64 --include=python3 "$suite" "$folder/packages" \
        "${MIRROR:-http://deb.debian.org/debian}" >"$folder/debootstrap.log" || {
        cat "$folder/debootstrap.log" >&2
        exit 2
    }
    for package in "$folder"/packages/var/cache/apt/archives/*.deb; do
        dpkg-deb -x "$package" "$folder/root"
    done
    rm -rf "$folder/packages"
    touch "$folder/root.whole"
fi
if [ ! -e "$folder/site.whole" ]; then
    rm -rf "$folder/wheels" "$folder/site"
    "$python" -m pip download --quiet --only-binary=:all: --python-version "$version" \
        --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
        --dest "$folder/wheels" numpy scipy numba
    for wheel in "$folder"/wheels/*.whl; do
        "$python" -m zipfile -e "$wheel" "$folder/site"
    done
    rm -rf "$folder/wheels"
    touch "$folder/site.whole"
fi

run() {
    nice timeout "$limit" qemu-aarch64 -L "$folder/root" -E PYTHONPATH="$folder/site" -E PYTHONDONTWRITEBYTECODE=1 \
        -E NUMBA_CACHE_DIR="$folder/compiled" "$folder/root/usr/bin/python$version" "$@"
}
run "$here/engine_bits.py"
