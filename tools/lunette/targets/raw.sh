#!/bin/sh
# {{name}} from its disk, in QEMU's q35 with a BIOS; with FIRMWARE=OVMF.fd by UEFI. What it writes to the disk is forgotten.
cd "$(dirname "$0")" || exit
"${QEMU:-qemu-system-x86_64}" -accel "${ACCEL:-tcg}" -cpu max -M "${MACHINE:-q35}" -m {{mib}} -smp 1 \
    ${FIRMWARE:+-bios "$FIRMWARE"} -nodefaults -no-user-config -display none -no-reboot -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=4 -device virtio-rng-pci \
?net    -netdev "user,id=net${FORWARD:+,hostfwd=$FORWARD}" -device virtio-net-pci,netdev=net,romfile= \
    -drive file={{disk}},format=raw,if=none,id=disk,snapshot=on -device virtio-blk-pci,drive=disk
code=$?
# What the kernel writes to that device: 33 for an app that ended with 0, 35 for all else.
case $code in 33) exit 0 ;; 35) exit 1 ;; *) exit $code ;; esac
