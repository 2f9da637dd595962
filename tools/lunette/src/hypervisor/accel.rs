//! Is there a KVM that is of use?
//!
//! A `/dev/kvm` that opens is not enough: on some nested hosts (`kvm_pvm` for one) ring 0 is interpreted,
//! thousands of times slower, or `-cpu host` aborts. So it is judged by what it does: our own image is
//! booted on it with the word `lunette.probe`, to which the kernel says farewell at once. The verdict is
//! remembered until the host's kernel, QEMU, the image or the device changes.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use lunette_hostcalls::farewell::Farewell;

use super::{
    Accel, MACHINES, Vm,
    qemu::Qemu,
    running::{self, Killed, Options, Outcome},
};
use crate::cache::Cache;

/// A usable one takes some tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(3);
const DEVICE: &str = "/dev/kvm";

/// May KVM be used, and why (not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub usable: bool,
    pub reason: String,
}

impl Verdict {
    fn new(usable: bool, reason: impl Into<String>) -> Self {
        Self { usable, reason: reason.into() }
    }

    pub fn accel(&self) -> Accel {
        if self.usable { Accel::Kvm } else { Accel::Tcg }
    }
}

/// Finds out, or remembers.
pub fn kvm(qemu: &Qemu, image: &Path, guard: Option<&Path>, cache: &Cache) -> Verdict {
    let device = Path::new(DEVICE);
    if let Some(verdict) = unreachable(device) {
        return verdict;
    }
    let key = key(qemu, image, device);
    // Each has its own: who runs several would probe anew each time.
    let name = format!("kvm-{}", image.file_stem().unwrap_or_default().to_string_lossy());
    if let Some(verdict) = cache.get(&name, &key).as_deref().and_then(read) {
        return verdict;
    }
    let verdict = probe(qemu, image, guard.map(Path::to_owned));
    cache.put(&name, &key, &write(&verdict));
    verdict
}

/// A verdict that needs no probe.
fn unreachable(device: &Path) -> Option<Verdict> {
    match fs::OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => None,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Some(Verdict::new(false, format!("there is no {}", device.display())))
        }
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            let reason =
                format!("{} may not be opened (`sudo usermod -aG kvm $USER` may help)", device.display());
            Some(Verdict::new(false, reason))
        }
        Err(e) => Some(Verdict::new(false, format!("{} can't be opened: {e}", device.display()))),
    }
}

/// Everything that the verdict depends on.
fn key(qemu: &Qemu, image: &Path, device: &Path) -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let image = fs::read(image).map(|bytes| lunette_bundle::sha256_hex(&bytes)).unwrap_or_default();
    let device =
        fs::metadata(device).map(|m| format!("{} {} {}", m.rdev(), m.ino(), m.ctime())).unwrap_or_default();
    format!("{release} / {} {} / {image} / {device}", qemu.path.display(), qemu.version)
}

fn probe(qemu: &Qemu, image: &Path, guard: Option<PathBuf>) -> Verdict {
    let vm = Vm {
        image: image.to_owned(),
        payload: None,
        words: vec!["lunette.probe".into()],
        machine: &MACHINES[0],
        accel: Accel::Kvm,
        memory: 32 << 20,
        network: None,
    };
    let options = Options { guard, limit: Some(LIMIT), ..Options::default() };
    match running::run(qemu, &vm, options) {
        Ok(outcome) => judge(&outcome),
        Err(problem) => Verdict::new(false, problem.to_string()),
    }
}

fn judge(outcome: &Outcome) -> Verdict {
    let ms = outcome.took.as_millis();
    match (&outcome.farewell, outcome.killed) {
        (_, Some(Killed::Limit)) => {
            let reason =
                format!("a boot on it did not end in {} s: ring 0 is interpreted there", LIMIT.as_secs());
            Verdict::new(false, reason)
        }
        (Some(Farewell::Exit(0)), _) => Verdict::new(true, format!("a boot on it took {ms} ms")),
        (Some(other), _) => Verdict::new(false, format!("a boot on it ended with \"{other}\"")),
        (None, _) => {
            let said = outcome.complaints.lines().rfind(|line| !line.trim().is_empty());
            let said = said.map(|line| format!(": {}", line.trim())).unwrap_or_default();
            Verdict::new(false, format!("a boot on it crashed after {ms} ms{said}"))
        }
    }
}

fn write(verdict: &Verdict) -> String {
    format!("{} {}", if verdict.usable { "usable" } else { "unusable" }, verdict.reason)
}

fn read(text: &str) -> Option<Verdict> {
    let (word, reason) = text.split_once(' ')?;
    match word {
        "usable" => Some(Verdict::new(true, reason)),
        "unusable" => Some(Verdict::new(false, reason)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use super::*;

    fn outcome(farewell: Option<Farewell>, killed: Option<Killed>) -> Outcome {
        Outcome {
            farewell,
            killed,
            asked: None,
            profile: Default::default(),
            started: false,
            status: ExitStatus::from_raw(0),
            complaints: "warning\nerror: failed to set MSR 0x10a\n".into(),
            tail: Default::default(),
            took: Duration::from_millis(42),
        }
    }

    #[test]
    fn a_kvm_is_judged_by_what_it_does() {
        assert_eq!(
            judge(&outcome(Some(Farewell::Exit(0)), None)),
            Verdict::new(true, "a boot on it took 42 ms")
        );
        let crash = judge(&outcome(None, None));
        assert_eq!(
            (crash.usable, &*crash.reason),
            (false, "a boot on it crashed after 42 ms: error: failed to set MSR 0x10a")
        );
        // Even a farewell comes too late after the limit.
        assert!(!judge(&outcome(Some(Farewell::Exit(0)), Some(Killed::Limit))).usable);
        assert!(!judge(&outcome(Some(Farewell::Panic("x".into())), None)).usable);
    }

    #[test]
    fn a_device_that_is_not_there_needs_no_probe() {
        let verdict = unreachable(Path::new("/nonexistent/kvm")).unwrap();
        assert_eq!((verdict.usable, &*verdict.reason), (false, "there is no /nonexistent/kvm"));
        assert_eq!(unreachable(Path::new("/dev/null")), None);
        assert_eq!(verdict.accel(), Accel::Tcg);
    }

    #[test]
    fn verdicts_survive_the_cache_until_something_changes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let image = dir.path().join("image");
        fs::write(&image, "one").unwrap();
        let qemu = Qemu { path: "/q".into(), version: "7.2".into() };
        let key_of = |qemu: &Qemu| key(qemu, &image, Path::new("/dev/null"));
        let verdict = Verdict::new(false, "it is slow");
        let first = key_of(&qemu);
        cache.put("kvm", &first, &write(&verdict));
        assert_eq!(cache.get("kvm", &first).as_deref().and_then(read), Some(verdict));
        assert_ne!(key_of(&Qemu { version: "8.0".into(), ..qemu.clone() }), first);
        fs::write(&image, "two").unwrap();
        assert_ne!(key_of(&qemu), first);
        assert_eq!(read("maybe so"), None);
    }
}
