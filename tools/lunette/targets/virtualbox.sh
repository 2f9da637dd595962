#!/bin/sh
# {{name}} in VirtualBox, with its console in console.txt.
set -e
cd "$(dirname "$0")"
VBoxManage createvm --name {{name}} --ostype Other_64 --register
VBoxManage modifyvm {{name}} --memory {{mib}} --cpus 1 --ioapic on --graphicscontroller none --audio-enabled off
VBoxManage modifyvm {{name}} --uart1 0x3f8 4 --uartmode1 file "$(pwd)/console.txt"
?net VBoxManage modifyvm {{name}} --nic1 "${NIC:-nat}" --nictype1 virtio
VBoxManage storagectl {{name}} --name sata --add sata --portcount 1
VBoxManage storageattach {{name}} --storagectl sata --port 0 --type hdd --medium "$(pwd)/{{disk}}"
VBoxManage startvm {{name}} --type headless
