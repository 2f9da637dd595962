#!/bin/sh
# {{name}} on QEMU's microvm. ACCEL=kvm where that may be used.
cd "$(dirname "$0")" || exit
"${QEMU:-qemu-system-x86_64}" -accel "${ACCEL:-tcg}" -cpu max -M microvm,acpi=off -m {{mib}} -smp 1 \
    -global virtio-mmio.force-legacy=false \
    -nodefaults -no-user-config -display none -no-reboot -serial stdio -device isa-debug-exit,iobase=0xf4,iosize=4 -device virtio-rng-device \
?net    -netdev "user,id=net${FORWARD:+,hostfwd=$FORWARD}" -device virtio-net-device,netdev=net \
    -kernel {{kernel}} -initrd {{payload}} -append '{{cmdline}}'
code=$?
# What the kernel writes to that device: 33 for an app that ended with 0, 35 for all else.
case $code in 33) exit 0 ;; 35) exit 1 ;; *) exit $code ;; esac
