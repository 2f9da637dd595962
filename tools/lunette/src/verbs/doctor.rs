//! `lunette doctor`: what is there on this machine, what is missing, and how to get it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    cli::Doctor,
    exit,
    hypervisor::{
        accel,
        qemu::{self, Qemu},
    },
    image,
    problem::{Problem, printable},
    run::Us,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    /// It works without, but.
    Warn,
    /// `lunette run` needs it.
    Fail,
}

struct Finding {
    name: &'static str,
    state: State,
    text: String,
    help: String,
}

impl Finding {
    fn new(name: &'static str, state: State, text: impl Into<String>, help: impl Into<String>) -> Self {
        Self { name, state, text: text.into(), help: help.into() }
    }

    fn of(name: &'static str, problem: &Problem) -> Self {
        Self::new(name, State::Fail, problem.to_string(), problem.help.clone())
    }
}

/// 125 if something is missing that `lunette run` needs.
pub fn doctor(args: &Doctor, us: &Us) -> Result<u8, Problem> {
    let mut findings = Vec::new();
    let qemu = Qemu::find(args.qemu.as_deref(), &us.cache);
    findings.push(match &qemu {
        Ok(qemu) => {
            Finding::new("qemu", State::Ok, format!("{} ({})", qemu.version, qemu.path.display()), "")
        }
        Err(problem) => Finding::of("qemu", problem),
    });
    let images = image::present(args.image.as_deref(), us.executable.as_deref());
    findings.push(match &images {
        Ok(images) => {
            let all: Vec<_> = images.iter().map(|image| image.to_string()).collect();
            let folder = images.first().and_then(|image| image.path.parent()).unwrap_or(Path::new(""));
            Finding::new("image", State::Ok, format!("{} in {}", all.join(", "), folder.display()), "")
        }
        Err(problem) => Finding::of("image", problem),
    });
    if let (Ok(qemu), Some(image)) = (&qemu, images.iter().flatten().next()) {
        let verdict = accel::kvm(qemu, &image.path, us.executable.as_deref(), &us.cache);
        let help = "nothing to do: apps run without it, by emulation, some ten times slower";
        findings.push(match verdict.usable {
            true => Finding::new("kvm", State::Ok, format!("usable: {}", verdict.reason), ""),
            false => Finding::new("kvm", State::Warn, format!("not usable: {}", verdict.reason), help),
        });
    } else {
        let help = "see to the others first";
        findings.push(Finding::new("kvm", State::Warn, "not tried: that takes QEMU and the image", help));
    }
    findings.push(targets());
    findings.push(match us.cache.dir() {
        Some(dir) if us.cache.file("doctor", b"").is_ok() => {
            Finding::new("cache", State::Ok, dir.display().to_string(), "")
        }
        Some(dir) => {
            let text = format!("{} can't be written", dir.display());
            Finding::new("cache", State::Warn, text, "set XDG_CACHE_HOME to a folder of yours")
        }
        None => Finding::new("cache", State::Warn, "there is no home for one", "set HOME or XDG_CACHE_HOME"),
    });

    if args.format.json() {
        let list = findings.iter().map(|f| {
            let state = match f.state {
                State::Ok => "ok",
                State::Warn => "warn",
                State::Fail => "fail",
            };
            json!({ "name": f.name, "state": state, "text": f.text, "help": f.help })
        });
        let images = images.iter().flatten().map(|image| {
            let has: Vec<_> = image.has.iter().map(|runtime| runtime.name()).collect();
            json!({ "path": image.path, "size": image.size, "has": has, "version": image.version })
        });
        super::print_json(&json!({
            "findings": list.collect::<Vec<_>>(), "images": images.collect::<Vec<_>>(),
        }))?;
    } else {
        let mut out = String::new();
        for f in &findings {
            let state = match f.state {
                State::Ok => "ok  ",
                State::Warn => "warn",
                State::Fail => "FAIL",
            };
            out += &format!("{state}  {:<8} {}\n", f.name, printable(&f.text));
            if !f.help.is_empty() {
                out += &format!("               help: {}\n", printable(&f.help));
            }
        }
        super::print(&out)?;
    }
    Ok(if findings.iter().any(|f| f.state == State::Fail) { exit::FAILURE } else { 0 })
}

/// What it takes to build apps in Rust. Running them takes none of it.
fn targets() -> Finding {
    const WANTED: &str = "wasm32-wasip1";
    let help = format!("to build apps in Rust: rustup target add {WANTED}");
    if qemu::in_path("rustup").is_none() {
        return Finding::new("rust", State::Warn, "there is no rustup (running apps does not need it)", help);
    }
    let list = Command::new("rustup").args(["target", "list", "--installed"]).stdin(Stdio::null()).output();
    let text = list.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    if text.lines().any(|line| line.trim() == WANTED) {
        Finding::new("rust", State::Ok, format!("the target {WANTED} is installed"), "")
    } else {
        Finding::new("rust", State::Warn, format!("the target {WANTED} is not installed"), help)
    }
}
