//! What an app can be exported for, as data: a line a target. Who wants another adds a line, and its files in `targets/`.

/// A hypervisor, a cloud, or a machine.
#[derive(Debug)]
pub struct Target {
    pub name: &'static str,
    /// What it is, for who reads a list.
    pub what: &'static str,
    pub artefact: Artefact,
    /// What starts it there: file name, template ([`super::fill`]). Those that end in `.sh` can be executed.
    pub files: &'static [(&'static str, &'static str)],
    /// How it boots, and on what.
    pub way: &'static str,
    /// What was tried, to the letter.
    pub tried: &'static str,
}

/// What is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Artefact {
    /// The kernel's ELF file, and beside it the bundle as initrd.
    Kernel,
    /// A disk with loaders for BIOS and UEFI.
    Disk(Format),
}

/// How a disk is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Raw,
    /// By `qemu-img`: what it calls the format, its options, and how the file ends.
    Converted(&'static str, &'static str, &'static str),
    /// A CD that is a disk as well.
    Iso,
    /// A whole number of MiB, by `qemu-img` as a fixed VHD.
    Azure,
    /// A tar of an OVF, a stream-optimised VMDK and a manifest.
    Ova,
    /// `disk.raw` in a tar.gz.
    Gce,
}

impl Format {
    /// How the file's name ends.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Iso => "iso",
            Self::Converted(_, _, ending) => ending,
            Self::Azure => "vhd",
            Self::Ova => "ova",
            Self::Gce => "tar.gz",
        }
    }

    /// What a disk's size is rounded up to.
    pub fn unit(self) -> u64 {
        match self {
            Self::Azure => 1 << 20,
            Self::Gce => 1 << 30,
            _ => 512,
        }
    }

    pub fn needs_qemu_img(self) -> bool {
        !matches!(self, Self::Raw | Self::Iso | Self::Gce)
    }
}

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../../targets/", $name))
    };
}

const DISK: &str = "firmware (BIOS or UEFI), our loader, the kernel";

pub const TARGETS: &[Target] = &[
    Target {
        name: "qemu",
        what: "QEMU's pc and q35, also by libvirt",
        artefact: Artefact::Kernel,
        files: &[("run.sh", template!("qemu.sh")), ("libvirt.sh", template!("libvirt.sh"))],
        way: "PVH; virtio network on PCI",
        tried: "run.sh is run by the tests of this project. The domain in libvirt.sh fits libvirt's own schema and was started by libvirt 9.0 without KVM, by hand, with its console in a file.",
    },
    Target {
        name: "microvm",
        what: "QEMU's microvm",
        artefact: Artefact::Kernel,
        files: &[("run.sh", template!("microvm.sh"))],
        way: "PVH; virtio network on MMIO",
        tried: "run.sh is run by the tests of this project.",
    },
    Target {
        name: "firecracker",
        what: "Firecracker, 1.12 and later by PVH",
        artefact: Artefact::Kernel,
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
        artefact: Artefact::Kernel,
        files: &[("run.sh", template!("cloud-hypervisor.sh"))],
        way: "PVH; virtio network on PCI, on a tap",
        tried: "Not tried: no Cloud Hypervisor was there.",
    },
    Target {
        name: "xen",
        what: "Xen, as a PVH guest",
        artefact: Artefact::Kernel,
        files: &[("xl.cfg", template!("xl.cfg")), ("run.sh", template!("xen.sh"))],
        way: "PVH; Xen's console and network",
        tried: "xl.cfg is booted under Debian's Xen 4.17 in QEMU by the tests of this project, with an interpreted program that answers HTTP.",
    },
    Target {
        name: "virtualbox",
        what: "VirtualBox",
        artefact: Artefact::Disk(Format::Converted("vdi", "", "vdi")),
        files: &[("create.sh", template!("virtualbox.sh"))],
        way: DISK,
        tried: "Not tried: VirtualBox does not run where this was made. The disk was booted in QEMU from AHCI, with a virtio network card, by hand; tests read it back.",
    },
    Target {
        name: "vmware",
        what: "VMware: ESXi, Workstation, Fusion",
        artefact: Artefact::Disk(Format::Ova),
        files: &[("lunette.vmx", template!("vmware.vmx")), ("deploy.sh", template!("vmware.sh"))],
        way: DISK,
        tried: "Not tried: VMware does not run where this was made. The disk in the OVA was booted in QEMU from AHCI, with vmxnet3, by BIOS and UEFI, by hand; tests read it back. lunette.vmx was not tried.",
    },
    Target {
        name: "proxmox",
        what: "Proxmox VE",
        artefact: Artefact::Disk(Format::Converted("qcow2", "", "qcow2")),
        files: &[("create.sh", template!("proxmox.sh"))],
        way: DISK,
        tried: "Not tried under Proxmox VE. The disk was booted in QEMU's pc from virtio-blk, by hand; tests read it back.",
    },
    Target {
        name: "openstack",
        what: "OpenStack, with KVM",
        artefact: Artefact::Disk(Format::Converted("qcow2", "", "qcow2")),
        files: &[("create.sh", template!("openstack.sh"))],
        way: DISK,
        tried: "Not tried under OpenStack. The disk was booted in QEMU from virtio-blk, by BIOS and UEFI, by hand; tests read it back.",
    },
    Target {
        name: "gce",
        what: "Google Compute Engine",
        artefact: Artefact::Disk(Format::Gce),
        files: &[("create.sh", template!("gce.sh"))],
        way: DISK,
        tried: "Not tried there. The disk in the archive was booted in QEMU from virtio-scsi by BIOS and from NVMe by UEFI, by hand.",
    },
    Target {
        name: "ec2",
        what: "Amazon EC2",
        artefact: Artefact::Disk(Format::Raw),
        files: &[("create.sh", template!("ec2.sh"))],
        way: DISK,
        tried: "Not tried there, and there is no driver for its network card (ENA): only what needs no network can work. The disk was booted in QEMU from NVMe, by BIOS and UEFI, by hand.",
    },
    Target {
        name: "azure",
        what: "Microsoft Azure, first generation",
        artefact: Artefact::Disk(Format::Azure),
        files: &[("create.sh", template!("azure.sh"))],
        way: DISK,
        tried: "Not tried there, and there is no driver for its network card (VMBus): only what needs no network can work. The disk was booted in QEMU's pc from IDE, by hand; tests read it back.",
    },
    Target {
        name: "raw",
        what: "a disk, byte for byte: for dd, and for all else",
        artefact: Artefact::Disk(Format::Raw),
        files: &[("run.sh", template!("raw.sh"))],
        way: DISK,
        tried: "run.sh is run by the tests of this project, with BIOS.",
    },
    Target {
        name: "iso",
        what: "a CD, for whatever boots from one; on a USB stick it is a disk",
        artefact: Artefact::Disk(Format::Iso),
        files: &[("run.sh", template!("iso.sh"))],
        way: DISK,
        tried: "run.sh is run by the tests of this project, with BIOS.",
    },
    Target {
        name: "hyper-v",
        what: "Hyper-V, first generation",
        artefact: Artefact::Disk(Format::Converted("vhdx", "subformat=dynamic", "vhdx")),
        files: &[("create.ps1", template!("hyper-v.ps1"))],
        way: DISK,
        tried: "Not tried: Hyper-V does not run where this was made, and there is no driver for its network card (VMBus). The disk was booted in QEMU's pc from IDE, by hand; tests read it back.",
    },
];

/// The target of this name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
