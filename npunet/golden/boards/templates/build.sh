#!/bin/sh
# Build the network and the bundle's cases for @WORDS@.
#
#   sh BUNDLE/c/board/build.sh [FOLDER [OUTPUT]]
#
# FOLDER (default build) is made and gets net.elf. OUTPUT says where lines go:
@OUTPUTS@
# Then
#
#   npunet verify BUNDLE --run "@RUN@"
#
# Debian: apt-get install @PACKAGES@
# Another compiler or other options: CC=@PREFIX@gcc CFLAGS="-O3 -DLOG_ACC" sh BUNDLE/c/board/build.sh
# Nothing is written into the bundle.
set -eu
board=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-build}"
out=$(cd "${1:-build}" && pwd)
output=${2:-@OUTPUT@}
cd "$board/../.." # case_data.S names the files of the inputs from here

"${CC:-@PREFIX@gcc}" \
    @FLAGS@ \
    @STANDARD@ ${CFLAGS:--O2} \
    @SOURCES@ \
    @LINK@ -o "$out/net.elf"
echo "built $out/net.elf"
