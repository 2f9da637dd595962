//! What an app can be exported for, as data: a line a target. Who wants another adds a line, and its files in `targets/`.

/// A hypervisor, a cloud, or a machine.
#[derive(Debug)]
pub struct Target {
    pub name: &'static str,
    /// What it is, for who reads a list.
    pub what: &'static str,
    /// What starts it there: file name, template ([`super::fill`]). Those that end in `.sh` can be executed.
    pub files: &'static [(&'static str, &'static str)],
    /// How it boots, and on what.
    pub way: &'static str,
    /// What was tried, to the letter.
    pub tried: &'static str,
}

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../../targets/", $name))
    };
}

pub const TARGETS: &[Target] = &[
    Target {
        name: "qemu",
        what: "QEMU's pc and q35, also by libvirt",
        files: &[("run.sh", template!("qemu.sh")), ("libvirt.sh", template!("libvirt.sh"))],
        way: "PVH; virtio network on PCI",
        tried: "run.sh is run by the tests of this project. libvirt.sh was not tried.",
    },
    Target {
        name: "microvm",
        what: "QEMU's microvm",
        files: &[("run.sh", template!("microvm.sh"))],
        way: "PVH; virtio network on MMIO",
        tried: "run.sh is run by the tests of this project.",
    },
    Target {
        name: "firecracker",
        what: "Firecracker, 1.12 and later by PVH",
        files: &[
            ("firecracker.json", template!("firecracker.json")),
            ("run.sh", template!("firecracker.sh")),
        ],
        way: "PVH; virtio network on MMIO, on a tap",
        tried: "Not tried as it is here: no Firecracker was there. Its configuration is read back by the tests.",
    },
    Target {
        name: "cloud-hypervisor",
        what: "Cloud Hypervisor",
        files: &[("run.sh", template!("cloud-hypervisor.sh"))],
        way: "PVH; virtio network on PCI, on a tap",
        tried: "Not tried: no Cloud Hypervisor was there.",
    },
    Target {
        name: "xen",
        what: "Xen, as a PVH guest",
        files: &[("xl.cfg", template!("xl.cfg")), ("run.sh", template!("xen.sh"))],
        way: "PVH",
        tried: "This export was not tried under Xen.",
    },
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
