//! A Debian guest to stand beside: its cloud kernel, busybox, and a program to compare with: the same bench program,
//! built for Linux, or what [`super::nginx`] puts there.
//!
//! The packages come by apt and are unpacked under `target/debian`, never installed. What can't be fetched leaves
//! its figures out, by name. Nothing of it is part of what Lunette ships.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    packages, samples,
    sh::{Result, command, read, root, target},
};

/// What QEMU boots.
pub(super) struct Debian {
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
}

/// The package that always names the newest kernel.
const KERNEL: &str = "linux-image-cloud-amd64";
/// In the order in which they are loaded: each stands on those before it.
const MODULES: [&str; 8] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];

/// The addresses are those of QEMU's user network, as Lunette's guest has them.
const SET_UP: &str = "\
$B ip link set lo up
$B ip addr add 10.0.2.15/24 dev eth0
$B ip link set eth0 up
$B ip route add default via 10.0.2.2
";

/// One with the program of the network's figures.
pub(super) fn net_bench() -> Result<Debian> {
    pack("net-bench", "exec /net-bench\n", |system| {
        fs::copy(program()?, system.join("net-bench"))?;
        Ok(())
    })
}

/// Fetches the kernel if it is not there yet, and packs a system: what `fill` puts into its folder, started by `run`.
pub(super) fn pack(name: &str, run: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Debian> {
    let dir = target().join("debian");
    let files = kernel_files(&dir)?;
    let version = packages::only_entry(&files.join("lib/modules"))?;
    let kernel = files.join(format!("boot/vmlinuz-{version}"));

    let system = dir.join(name);
    if system.exists() {
        fs::remove_dir_all(&system)?;
    }
    for folder in ["bin", "dev", "lib", "proc", "tmp"] {
        fs::create_dir_all(system.join(folder))?;
    }
    let busybox = files.join("bin/busybox");
    fs::copy(&busybox, system.join("bin/busybox"))?;
    fill(&system)?;
    let mut init = String::from("#!/bin/busybox sh\nB=/bin/busybox\n");
    for module in MODULES {
        let from = files.join("lib/modules").join(&version).join("kernel").join(module).with_extension("ko");
        let name = from.file_name().unwrap_or_default();
        fs::copy(&from, system.join("lib").join(name)).map_err(|e| format!("{}: {e}", from.display()))?;
        init += &format!("$B insmod /lib/{}\n", name.to_string_lossy());
    }
    init += SET_UP;
    init += run;
    fs::write(system.join("init"), init)?;
    read(command("chmod", &["+x"]).arg(system.join("init")))?;
    let initrd = dir.join(format!("{name}.cpio"));
    packages::initramfs(&system, &busybox, &initrd)?;
    Ok(Debian { kernel, initrd })
}

fn kernel_files(dir: &Path) -> Result<PathBuf> {
    let kernel = packages::dependency(KERNEL, "linux-image-")?;
    packages::unpacked(&dir.join("files"), &[&kernel, "busybox-static"], &[])
}

/// The bench program for Linux, with nothing beside it.
fn program() -> Result<PathBuf> {
    build("x86_64-unknown-linux-musl", "net-bench")
}

/// The bench program as a module.
pub(super) fn module() -> Result<PathBuf> {
    build("wasm32-wasip1", "net-bench.wasm")
}

fn build(triple: &str, file: &str) -> Result<PathBuf> {
    Ok(samples::cargo_build(&root().join("tests/guests/net-bench"), triple)?.join(file))
}
