//! What a hypervisor is to us: somebody who turns a [`Vm`] into a command, and can ask it to stop.
//! Running the command is the same for all ([`running`]).

pub mod accel;
pub mod qemu;
pub mod running;

use std::{
    ffi::{OsStr, OsString},
    io,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{network::publish::Published, problem::Problem};

/// A machine that a hypervisor can be asked for, as data.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    /// The user's name for it.
    pub name: &'static str,
    /// QEMU's `-M`. Without ACPI, microvm names its virtio devices on the kernel's command line.
    pub qemu: &'static str,
    /// The device that gives entropy there.
    pub rng: &'static str,
    /// The device that carries standard input there.
    pub serial: &'static str,
    /// The network device there. On PCI it comes without a boot ROM: nothing boots from it.
    pub nic: &'static str,
    /// Has it a power button? Otherwise the console that carries standard input asks to end in good order.
    pub power_button: bool,
    /// Further arguments.
    pub extra: &'static [&'static str],
}

pub const MACHINES: &[Machine] = &[
    Machine {
        name: "microvm",
        qemu: "microvm,acpi=off",
        rng: "virtio-rng-device",
        serial: "virtio-serial-device",
        nic: "virtio-net-device",
        power_button: false,
        // Version 2 of virtio-mmio.
        extra: &["-global", "virtio-mmio.force-legacy=false"],
    },
    Machine {
        name: "pc",
        qemu: "pc",
        rng: "virtio-rng-pci",
        serial: "virtio-serial-pci",
        nic: "virtio-net-pci,romfile=",
        power_button: true,
        extra: &[],
    },
    Machine {
        name: "q35",
        qemu: "q35",
        rng: "virtio-rng-pci",
        serial: "virtio-serial-pci",
        nic: "virtio-net-pci,romfile=",
        power_button: true,
        extra: &[],
    },
];

impl Machine {
    pub fn named(name: &str) -> Option<&'static Self> {
        MACHINES.iter().find(|machine| machine.name == name)
    }
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// Translated by QEMU: works everywhere.
    Tcg,
    Kvm,
}

impl Accel {
    pub fn named(name: &str) -> Option<Self> {
        [Self::Tcg, Self::Kvm].into_iter().find(|accel| accel.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }
}

/// A virtual machine that is to run.
#[derive(Clone, Debug)]
pub struct Vm {
    pub image: PathBuf,
    /// The app. A probe has none.
    pub payload: Option<PathBuf>,
    /// Further words for the kernel's command line.
    pub words: Vec<String>,
    pub machine: &'static Machine,
    pub accel: Accel,
    /// In bytes.
    pub memory: u64,
    /// `None`: it is on no network.
    pub network: Option<Nic>,
}

/// A network device, and what is at the other end of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    pub backend: Backend,
    /// `None`: the hypervisor's choice, which is the same for all its VMs.
    pub mac: Option<String>,
    /// Where every frame is written to.
    pub capture: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    User(UserNet),
    Tap(String),
    /// Two datagram sockets; one frame a datagram.
    Unix {
        local: PathBuf,
        remote: PathBuf,
    },
}

/// A router in the hypervisor's process, which needs no rights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNet {
    pub forwards: Vec<Published>,
    /// The guest's address, where it is not left to DHCP.
    pub guest: Option<Ipv4Addr>,
    /// The network, its bits, the router's address, and the name server's.
    pub ipv4: Option<(Ipv4Addr, u8, Ipv4Addr, Ipv4Addr)>,
    /// Is there IPv6, and if so, on which network, with how many bits, and the router where?
    pub ipv6: Option<Option<(Ipv6Addr, u8, Option<Ipv6Addr>)>>,
    /// The guest is let nowhere by itself: it only answers, and by TCP.
    pub closed: bool,
}

/// Where the VM's channels end.
#[derive(Clone, Copy, Debug)]
pub enum Wires<'p> {
    /// In this private folder, with standard input and output as pipes: [`running`] holds the other ends.
    Folder(&'p Path),
    /// At a person's terminal: for a command that stands alone.
    Terminal,
}

/// A program with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(pub Vec<OsString>);

impl CommandLine {
    /// As a line for a POSIX shell.
    pub fn quoted(&self) -> String {
        self.0.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
    }
}

fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./,:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

pub trait Hypervisor {
    fn name(&self) -> &'static str;
    /// What to run.
    fn command(&self, vm: &Vm, wires: Wires<'_>) -> CommandLine;
    /// Asks the kernel of the VM whose wires end in `folder` to let its guests finish.
    fn drain(&self, vm: &Vm, folder: &Path) -> io::Result<()>;
    /// Asks it to end the run, whatever it is doing.
    fn stop(&self, folder: &Path) -> io::Result<()>;
    /// What it complained about when it could not start a VM, if we know better words for it.
    fn explain(&self, complaints: &str) -> Option<Problem>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let words = ["plain-1.2=x,y:/z", "", "a b", "it's", "$(rm)", "*", "ü", "a\nb", "\\"];
        let line = CommandLine(words.iter().map(Into::into).collect()).quoted();
        let script = format!("for w in {line}; do printf '%s\\0' \"$w\"; done");
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let back = String::from_utf8(out.stdout).unwrap();
        assert_eq!(back.strip_suffix('\0').unwrap().split('\0').collect::<Vec<_>>(), words);
    }
}
