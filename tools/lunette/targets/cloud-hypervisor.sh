#!/bin/sh
# {{name}} on Cloud Hypervisor.
?net # Its network card is on tap0: `ip tuntap add tap0 mode tap user $USER`, up, and on a bridge with a DHCP server.
cd "$(dirname "$0")" || exit
exec "${CLOUD_HYPERVISOR:-cloud-hypervisor}" --memory size={{mib}}M --cpus boot=1 --serial tty --console off \
?net    --net tap=tap0 \
    --kernel {{kernel}} --initramfs {{payload}} --cmdline '{{cmdline}}'
