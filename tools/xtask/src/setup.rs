//! `cargo xtask setup`: what a fresh Debian or Ubuntu with rustup lacks, installed.
//!
//! Says nothing when nothing is missing, one line for each thing it installs, and the exact command
//! where it may not install. It looks at files and programs, not at a package list, so that what came
//! some other way counts too. A thing without which some tests only are skipped is no error here.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::sh::{Result, command, read, root, run, succeeds, which};

const TARGETS: &[&str] = &[
    "x86_64-unknown-linux-musl",
    "x86_64-unknown-none",
    "x86_64-unknown-uefi",
    "wasm32-wasip1",
    "wasm32-wasip2",
];
const COMPONENTS: &[&str] = &["clippy", "rustfmt"];

pub(crate) fn setup() -> Result<()> {
    rust()?;
    packages()
}

/// The toolchain of `rust-toolchain.toml`, its targets and components.
fn rust() -> Result<()> {
    let channel = channel()?;
    let Some(sysroot) = sysroot(&channel) else {
        if which("rustup").is_none() {
            return Err(format!(
                "Rust {channel} is needed and there is no rustup\n\
                 help: install rustup (`apt-get install rustup` where there is one, or https://rustup.rs)"
            )
            .into());
        }
        println!("setup: installing Rust {channel} with rustup");
        let mut install = command("rustup", &["toolchain", "install", &channel, "--profile", "minimal"]);
        for component in COMPONENTS {
            install.args(["--component", component]);
        }
        for target in TARGETS {
            install.args(["--target", target]);
        }
        return run(&mut install);
    };
    let missing: Vec<&str> = TARGETS
        .iter()
        .copied()
        .filter(|target| !sysroot.join("lib/rustlib").join(target).join("lib").is_dir())
        .collect();
    if !missing.is_empty() {
        println!("setup: installing Rust targets {} with rustup", missing.join(", "));
        run(command("rustup", &["target", "add", "--toolchain", &channel]).args(&missing))?;
    }
    let missing: Vec<&str> = [("clippy", "cargo-clippy"), ("rustfmt", "cargo-fmt")]
        .into_iter()
        .filter(|(_, program)| !sysroot.join("bin").join(program).is_file())
        .map(|(component, _)| component)
        .collect();
    if !missing.is_empty() {
        println!("setup: installing Rust components {} with rustup", missing.join(", "));
        run(command("rustup", &["component", "add", "--toolchain", &channel]).args(&missing))?;
    }
    Ok(())
}

/// `channel = "1.95.0"` of rust-toolchain.toml.
fn channel() -> Result<String> {
    let file = root().join("rust-toolchain.toml");
    let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("channel"))
        .find_map(|rest| rest.trim_start().strip_prefix('=')?.trim().trim_matches('"').to_owned().into())
        .ok_or_else(|| format!("{}: no channel", file.display()).into())
}

/// Where the toolchain lives, if it is there. Asked of rustc itself, so a toolchain that did not come
/// by rustup counts as long as its version is right.
fn sysroot(channel: &str) -> Option<PathBuf> {
    let version = read(&mut command("rustc", &["--version"])).ok()?;
    if version.split_whitespace().nth(1) != Some(channel) {
        return None;
    }
    let dir = read(&mut command("rustc", &["--print", "sysroot"])).ok()?;
    Some(PathBuf::from(dir.trim_end()))
}

/// One thing from Debian: is it there, and which package brings it.
struct Need {
    what: &'static str,
    present: fn() -> bool,
    package: fn() -> Option<String>,
}

const NEEDS: &[Need] = &[
    Need {
        what: "QEMU",
        present: || which("qemu-system-x86_64").is_some(),
        package: || Some("qemu-system-x86".into()),
    },
    // What writes disks in other hypervisors' formats; the stories of exports skip them without it.
    Need { what: "qemu-img", present: || which("qemu-img").is_some(), package: || Some("qemu-utils".into()) },
    Need {
        what: "musl's C compiler",
        present: || which("musl-gcc").is_some(),
        package: || Some("musl-tools".into()),
    },
    Need { what: "clang", present: || which("clang").is_some(), package: || Some("clang".into()) },
    Need { what: "wasm-ld", present: || which("wasm-ld").is_some(), package: || Some("lld".into()) },
    Need {
        what: "a C library for WASI",
        present: || Path::new("/usr/lib/wasm32-wasi/libc.a").is_file(),
        package: || Some("wasi-libc".into()),
    },
    Need {
        what: "clang's run-time library for wasm32",
        present: clang_builtins_present,
        package: clang_builtins_package,
    },
    Need {
        what: "UEFI's firmware for QEMU",
        present: || Path::new("/usr/share/OVMF/OVMF_CODE_4M.fd").is_file(),
        package: || Some("ovmf".into()),
    },
    Need {
        what: "GRUB's maker of ISOs",
        present: || which("grub-mkrescue").is_some(),
        package: || Some("grub-common".into()),
    },
    Need {
        what: "GRUB for a BIOS",
        present: || Path::new("/usr/lib/grub/i386-pc").is_dir(),
        package: || Some("grub-pc-bin".into()),
    },
    Need {
        what: "GRUB for EFI",
        present: || Path::new("/usr/lib/grub/x86_64-efi").is_dir(),
        package: || Some("grub-efi-amd64-bin".into()),
    },
    Need { what: "xorriso", present: || which("xorriso").is_some(), package: || Some("xorriso".into()) },
    Need { what: "mtools", present: || which("mformat").is_some(), package: || Some("mtools".into()) },
    Need { what: "curl", present: || which("curl").is_some(), package: || Some("curl".into()) },
    Need { what: "dig", present: || which("dig").is_some(), package: || Some("bind9-dnsutils".into()) },
    Need { what: "openssl", present: || which("openssl").is_some(), package: || Some("openssl".into()) },
    Need {
        what: "Python's venv",
        present: || succeeds(&mut command("python3", &["-c", "import venv, ensurepip"])),
        package: || Some("python3-venv".into()),
    },
];

fn packages() -> Result<()> {
    if NEEDS.iter().all(|need| (need.present)()) {
        return Ok(());
    }
    if which("apt-get").is_none() {
        let what: Vec<&str> = NEEDS.iter().filter(|need| !(need.present)()).map(|need| need.what).collect();
        println!(
            "setup: missing: {}; no apt-get here: install them by this system's own means",
            what.join(", ")
        );
        return Ok(());
    }
    let sudo: &[&str] = match () {
        () if is_root() => &[],
        () if succeeds(&mut command("sudo", &["-n", "true"])) => &["sudo", "-n"],
        () => {
            println!(
                "setup: packages are missing, and neither root nor sudo without a password is to be had; run:"
            );
            println!("  sudo apt-get update && sudo apt-get install -y {}", names().join(" "));
            return Ok(());
        }
    };
    // Before the first look-up: a fresh container has no package lists at all.
    apt(sudo, &["update", "-qq"])?;
    let mut names = names();
    if names.iter().any(|name| name == "clang") {
        // Which run-time library fits is only known once clang's version is.
        names.retain(|name| !name.starts_with("libclang-rt-"));
    }
    println!("setup: installing {} with apt-get", names.join(" "));
    install(sudo, &names)?;
    let late = self::names();
    if !late.is_empty() {
        println!("setup: installing {} with apt-get", late.join(" "));
        install(sudo, &late)?;
    }
    Ok(())
}

fn names() -> Vec<String> {
    let missing = NEEDS.iter().filter(|need| !(need.present)());
    let names: BTreeSet<String> = missing.filter_map(|need| (need.package)()).collect();
    names.into_iter().collect()
}

fn install(sudo: &[&str], names: &[String]) -> Result<()> {
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(names.iter().map(String::as_str));
    apt(sudo, &args)
}

fn apt(sudo: &[&str], args: &[&str]) -> Result<()> {
    let words: Vec<&str> =
        [sudo, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "Dpkg::Use-Pty=0"], args].concat();
    // Its chatter is of no use to anyone until it fails.
    read(&mut command(words[0], &words[1..])).map(drop)
}

fn is_root() -> bool {
    read(&mut command("id", &["-u"])).is_ok_and(|id| id.trim() == "0")
}

/// The major version of the `clang` that is there, or that apt would install.
fn clang_version() -> Option<String> {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    if let Ok(text) = read(&mut command("clang", &["-dumpversion"])) {
        return Some(digits(&text)).filter(|v| !v.is_empty());
    }
    let depends = read(&mut command("apt-cache", &["depends", "clang"])).ok()?;
    depends.lines().find_map(|line| Some(digits(line.split_once("clang-")?.1))).filter(|v| !v.is_empty())
}

fn clang_builtins_present() -> bool {
    let Ok(dir) = read(&mut command("clang", &["-print-resource-dir"])) else { return false };
    let dir = Path::new(dir.trim_end()).join("lib");
    // The layout changed over clang's versions.
    ["wasi/libclang_rt.builtins-wasm32.a", "wasm32-unknown-wasi/libclang_rt.builtins.a"]
        .iter()
        .any(|file| dir.join(file).is_file())
}

/// `libclang-rt-14-dev-wasm32` on Debian 12; older Ubuntus carry none, and the C sample is skipped there.
fn clang_builtins_package() -> Option<String> {
    let name = format!("libclang-rt-{}-dev-wasm32", clang_version()?);
    succeeds(&mut command("apt-cache", &["show", &name])).then_some(name)
}
