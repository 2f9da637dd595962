//! VMs as processes: side by side, killed, and started by hand.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    Stories,
    ends::spin,
    guests::{folder, guest},
    vm::{lunette, vm},
};

pub(crate) fn stories(s: &mut Stories) {
    s.boots("processes: two runs at once", || {
        let runs = ["one", "two"].map(|name| (name, vm(guest("cat")).args([name]).stdin(name).start()));
        for (name, running) in runs {
            running.wait(Duration::from_secs(30)).exits(0).prints(format!("cat.wasm\0{name}\0{name}"));
        }
    });
    s.boots("processes: a killed CLI leaves no VM behind", || {
        let mark = folder("mark");
        let running = vm(spin()).env("LUNETTE_STORY", &mark).start();
        let mark = mark.display().to_string();
        until("the VM is there", || machines(&mark) == 1);
        running.signal(Signal::KILL);
        until("the VM is gone", || machines(&mark) == 0);
        running.wait(Duration::from_secs(3));
    });
    s.boots("processes: the command of --dry-run boots the app", || {
        let app = guest("cat");
        let command = vm(app).flags(["--dry-run"]).args(["by hand"]).run().exits(0);
        let line = String::from_utf8(command.stdout.clone()).expect("text");
        let mut sh = Command::new("timeout");
        let output = sh.args(["60", "sh", "-c", line.trim_end()]).output().expect("a shell");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("by hand"), "{command}--- what it did\n{text}");
    });
    s.tells("processes: --dry-run without an image says so", || {
        lunette(["run", "--dry-run"])
            .args([guest("cat")])
            .env("LUNETTE_IMAGE", "/nonexistent")
            .run()
            .refuses("image");
    });
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not after 10 s");
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many QEMUs carry this mark in their environment.
fn machines(mark: &str) -> usize {
    let has = |file: &str, pid: &str, what: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(what)
    };
    let processes = fs::read_dir("/proc").expect("a list of processes");
    let names = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|pid| has("comm", pid, "qemu-system") && has("environ", pid, mark)).count()
}
