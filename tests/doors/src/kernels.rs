//! The kernel itself, by PVH, on machines that differ in where their devices are told and in how they are switched off.

use crate::{
    Doors,
    machine::{CMDLINE, Files, Machine, answering, cannot_boot, image},
};

/// Its name, the machine, the card, and what else it needs.
const MACHINES: [(&str, &str, &str, &[&str]); 8] = [
    // Switched off by S5, in a port and in memory.
    ("pc", "pc", "virtio-net-pci", &[]),
    ("q35", "q35", "virtio-net-pci", &[]),
    // Devices by ACPI's namespace alone.
    ("microvm_acpi", "microvm,acpi=on", "virtio-net-device", &[]),
    // PCI that has no ports, and whose devices have no addresses.
    ("microvm_pcie", "microvm,acpi=on,pcie=on", "virtio-net-pci", &[]),
    ("microvm_pcie_modern", "microvm,acpi=on,pcie=on", "virtio-net-pci,disable-legacy=on", &[]),
    ("microvm_pcie_e1000e", "microvm,acpi=on,pcie=on", "e1000e", &[]),
    // Devices by the command line; ended by the keyboard controller.
    ("microvm", "microvm,acpi=off", "virtio-net-device", &["-no-reboot"]),
    // Devices nowhere but where they always are.
    ("microvm_slots", "microvm,acpi=off,auto-kernel-cmdline=off", "virtio-net-device", &["-no-reboot"]),
];

pub(crate) fn doors(doors: &mut Doors) {
    for (name, kind, card, more) in MACHINES {
        doors.opens(format!("kernel_{name}_answers"), cannot_boot(), move || {
            let files = Files::new();
            let app = files.put("app", &answering());
            let kernel = image().expect("it was looked for");
            let cmdline = format!("{CMDLINE} lunette.ip=10.0.2.15/24,10.0.2.2");
            let [kernel, app] = [&kernel, &app].map(|path| path.to_str().expect("a path"));
            let machine = Machine::new(&files, kind, "128M", false);
            machine.with(&["-kernel", kernel, "-initrd", app, "-append", &cmdline]).with(more).answers(card);
        });
    }
}
