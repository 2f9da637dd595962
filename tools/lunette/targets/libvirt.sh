#!/bin/sh
# {{name}} as a transient domain of libvirt: the files stay where they are, and the hypervisor has to be able to read them.
cd "$(dirname "$0")" || exit
here=$(pwd)
virsh create /dev/stdin <<END
<domain type='${TYPE:-kvm}'>
  <name>{{name}}</name>
  <memory unit='MiB'>{{mib}}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$here/{{kernel}}</kernel>
    <initrd>$here/{{payload}}</initrd>
    <cmdline>{{cmdline}}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
?net    <interface type='network'><source network='${NETWORK:-default}'/><model type='virtio'/></interface>
    <video><model type='none'/></video>
    <memballoon model='none'/>
  </devices>
</domain>
END
