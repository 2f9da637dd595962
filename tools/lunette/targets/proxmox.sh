#!/bin/sh
# {{name}} on Proxmox VE: ./create.sh VMID [STORAGE], as root on the node.
set -e
cd "$(dirname "$0")"
id=${1:?the number of the VM}
storage=${2:-local-lvm}
qm create "$id" --name {{name}} --memory {{mib}} --cores 1 --ostype other --serial0 socket --vga serial0 --scsihw virtio-scsi-pci
?net qm set "$id" --net0 "virtio,bridge=${BRIDGE:-vmbr0}"
qm set "$id" --virtio0 "$storage:0,import-from=$(pwd)/{{disk}}" --boot order=virtio0
qm start "$id"
