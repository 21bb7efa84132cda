#!/bin/sh
# The engine on processors with AVX-512 and dot products of bytes, on a machine without: compiled for them, run by the
# Bochs emulator under a Linux of its own, and every result compared with NumPy's definition. For a nightly run.
#
#   apt-get install grub-pc-bin grub-common xorriso mtools busybox-static cpio e2fsprogs kmod bochsbios vgabios
#   BOCHS=.../bochs sh reference/avx512.sh [FOLDER] [MACHINE ...]      FOLDER (default .avx512) keeps what was made
#
# Bochs 2.8 or later, its own build: ./configure --enable-x86-64 --enable-avx --enable-evex --enable-cpu-level=6
# --enable-all-optimizations --enable-handlers-chaining --enable-repeat-speedups --enable-pci --with-nogui
# (Debian's 2.7 has AVX-512, but Linux leaves it switched off there.)
# PYTHON must hold numpy, llvmlite, numba and what the tests need. MACHINE: see emulated.py; all of them by default.
# Exit status: 0 no value differs, 1 some do, 2 a program is missing, 124 out of time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-.avx512}
[ $# -gt 0 ] && shift
machines=${*:-avx512 avx512-vnni avx512-one-fma avx-vnni}
limit=${LIMIT:-3600} # seconds for each machine
python=${PYTHON:-python3}
bochs=${BOCHS:-bochs}
bios=${BIOS:-/usr/share/bochs/BIOS-bochs-latest}
vga=${VGA:-/usr/share/bochs/VGABIOS-lgpl-latest}
PATH=$PATH:/usr/sbin:/sbin

for program in "$bochs" "$python" grub-mkrescue xorriso mformat mke2fs busybox cpio dpkg-deb modprobe depmod timeout; do
    command -v "$program" >/dev/null || {
        echo "$program is missing: see the head of $0" >&2
        exit 2
    }
done
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

if [ ! -e "$folder/boot.iso" ]; then # Debian's kernel, what it needs to find a disk, and GRUB
    rm -rf "$folder/kernel" "$folder/first" "$folder/iso"
    mkdir -p "$folder/kernel" "$folder/first/bin" "$folder/first/lib" "$folder/first/proc" "$folder/first/dev" \
        "$folder/first/mnt" "$folder/iso/boot/grub"
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
    (cd "$folder" && apt-get download -qq "$package" && dpkg-deb -x linux-image-*.deb kernel && rm linux-image-*.deb)
    version=${package#linux-image-}
    depmod -b "$folder/kernel" "$version" 2>/dev/null
    for module in ata_piix sd_mod ext4; do
        modprobe -d "$folder/kernel" -S "$version" --show-depends "$module"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r module; do
        cp "$module" "$folder/first/lib/"
        echo "insmod /lib/${module##*/}"
    done >"$folder/modules"
    cp "$(command -v busybox)" "$folder/first/bin/busybox"
    {
        echo '#!/bin/busybox sh'
        echo 'b=/bin/busybox; $b mount -t proc p /proc; $b mount -t devtmpfs d /dev'
        sed 's/^/$b /' "$folder/modules"
        echo 'until [ -e /dev/sda ]; do $b sleep 1; done; $b mount -t ext4 /dev/sda /mnt'
        echo '$b mount -t proc p /mnt/proc; $b mount -t devtmpfs d /mnt/dev; $b mount -t tmpfs t /mnt/tmp'
        echo '$b chroot /mnt /check.sh; $b sleep 1; $b poweroff -f'
    } >"$folder/first/init"
    chmod +x "$folder/first/init"
    (cd "$folder/first" && find . | cpio -o -H newc --quiet | gzip -1) >"$folder/iso/boot/initrd.gz"
    cp "$folder/kernel/boot/vmlinuz-$version" "$folder/iso/boot/vmlinuz"
    cat >"$folder/iso/boot/grub/grub.cfg" <<'GRUB'
set timeout=0
linux /boot/vmlinuz console=ttyS0 nokaslr mitigations=off noapic nolapic nosmp tsc=reliable loglevel=3 panic=-1
initrd /boot/initrd.gz
boot
GRUB
    grub-mkrescue -o "$folder/boot.iso.new" "$folder/iso" 2>/dev/null
    mv "$folder/boot.iso.new" "$folder/boot.iso"
fi

"$python" "$here/emulated.py" draw "$folder/networks"
rm -rf "$folder/root"
mkdir -p "$folder/root/proc" "$folder/root/dev" "$folder/root/tmp" "$folder/root/bin"
"$python" "$here/emulated_root.py" "$folder/root" "$folder/networks" # Python, its libraries, npunet
worst=0
for machine in $machines; do
    rm -rf "$folder/root/code"
    "$python" "$here/emulated.py" compile "$machine" "$folder/code/$machine"
    cp -r "$folder/code/$machine" "$folder/root/code"
    chmod -R go-w "$folder/root/code"
    sed "s/MACHINE/$machine/" "$folder/root/check.in" >"$folder/root/check.sh"
    chmod +x "$folder/root/check.sh"
    rm -f "$folder/disk" "$folder/disk.lock" "$folder/$machine.txt"
    mke2fs -q -t ext4 -d "$folder/root" "$folder/disk" 900M
    features='add_features="avx512vnni, avx_vnni", '
    [ "$machine" = avx512 ] && features=
    cat >"$folder/$machine.bochs" <<CONFIGURATION
display_library: nogui
megs: 1024
cpu: model=corei7_skylake_x, ${features}count=1, ips=50000000
romimage: file=$bios
vgaromimage: file=$vga
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path="$folder/disk", mode=flat, cylinders=0
ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15
ata1-master: type=cdrom, path="$folder/boot.iso", status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev="$folder/$machine.txt"
clock: sync=none
log: "$folder/$machine.log"
panic: action=fatal
error: action=ignore
CONFIGURATION
    echo "== $machine"
    status=0
    timeout "$limit" "$bochs" -q -f "$folder/$machine.bochs" </dev/null >"$folder/$machine.out" 2>&1 || status=$?
    rm -f "$folder/disk" "$folder/disk.lock"
    tr -d '\r' <"$folder/$machine.txt" | sed -n '/^begin/,/^end/p'
    [ "$status" = 124 ] && exit 124
    grep -q "^end 0" "$folder/$machine.txt" || worst=1
done
exit "$worst"
