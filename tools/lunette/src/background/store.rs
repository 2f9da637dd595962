//! Where VMs in the background are written down: a folder each, for its user alone.
//!
//! ```text
//! $XDG_STATE_HOME/lunette/     or ~/.local/state/lunette, or $LUNETTE_STATE
//!   lock                       held while names are given and folders come and go
//!   vms/ID/                    0700
//!     vm.json                  what was asked for (Spec); never changes
//!     state.json               how it is (State); replaced as a whole
//!     payload                  the app; gone when the VM has ended
//!     log, log.1               what it said
//!     stop                     how long it may take to finish
//! ```
//!
//! A folder is made under another name and appears whole; it is taken away the same way. What its state says of a
//! supervisor that is gone is not believed.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lunette_hostcalls::grants::Protocol;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    exit,
    hypervisor::Nic,
    identity::Identity,
    network::publish::{Published, overlap},
    problem::Problem,
};

const SPEC: &str = "vm.json";
const STATE: &str = "state.json";
pub const PAYLOAD: &str = "payload";
const STOP: &str = "stop";
/// Of names that are not a VM's.
const HIDDEN: char = '.';

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub id: String,
    pub name: String,
    /// The app, as it was named.
    pub app: String,
    pub created: SystemTime,
    pub qemu: PathBuf,
    pub qemu_version: String,
    pub image: PathBuf,
    /// Of the kernel's command line.
    pub words: Vec<String>,
    pub machine: String,
    pub accel: String,
    pub memory: u64,
    /// As somebody chose it.
    pub asked_memory: Option<u64>,
    pub network: Option<Nic>,
    pub published: Vec<Published>,
    pub timeout: Option<Duration>,
    pub drains: bool,
}

/// How it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum State {
    /// Its owner, first the command and then the supervisor, is about to start it.
    Starting {
        owner: Identity,
    },
    Running {
        owner: Identity,
        since: SystemTime,
    },
    Ended(Ended),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    pub code: u8,
    /// In a word.
    pub how: String,
    pub problem: Option<Problem>,
    pub since: Option<SystemTime>,
    pub until: Option<SystemTime>,
}

/// A VM that is written down.
#[derive(Clone, Debug)]
pub struct Entry {
    pub folder: PathBuf,
    pub spec: Spec,
    pub state: State,
}

/// A folder that can't be read as one.
#[derive(Clone, Debug)]
pub struct Unreadable {
    pub id: String,
    pub problem: Problem,
}

#[derive(Clone, Debug)]
pub struct Store(PathBuf);

impl Store {
    pub fn of_user() -> Result<Self, Problem> {
        let dir = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let place = dir("LUNETTE_STATE").or_else(|| Some(dir("XDG_STATE_HOME")?.join("lunette")));
        let place = place.or_else(|| Some(dir("HOME")?.join(".local/state/lunette")));
        place.map(Self).ok_or_else(|| {
            let what =
                "there is no place to write VMs down: LUNETTE_STATE, XDG_STATE_HOME and HOME are not set";
            Problem::new(what, "set LUNETTE_STATE to a folder of yours")
        })
    }

    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    fn vms(&self) -> PathBuf {
        self.0.join("vms")
    }

    fn failed(&self, e: &io::Error) -> Problem {
        let help = "make room, or set LUNETTE_STATE to a folder of yours";
        Problem::new(format!("VMs can't be written down: {e}"), help).at(self.0.display())
    }

    /// Keeps other commands from what only one may do. Released when dropped.
    fn lock(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.vms())?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.0.join("lock"))?;
        while let Err(e) = rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive) {
            if e != rustix::io::Errno::INTR {
                return Err(e.into());
            }
        }
        Ok(file)
    }

    /// Writes a VM down: `name`, or one like `like`; `spec` is asked for with its identifier and its name. The
    /// payload goes along.
    pub fn create(
        &self,
        name: Option<&str>,
        like: &str,
        payload: &[u8],
        spec: impl FnOnce(String, String) -> Spec,
    ) -> Result<Entry, Problem> {
        let failed = |e: io::Error| self.failed(&e);
        let _lock = self.lock().map_err(failed)?;
        self.sweep();
        let others = self.all()?;
        let taken: HashSet<_> = others.iter().flatten().map(|entry| entry.spec.name.as_str()).collect();
        let name = match name {
            Some(name) if taken.contains(name) => {
                let other = others.iter().flatten().find(|entry| entry.spec.name == name);
                let away = if other.is_some_and(Entry::lives) { "rm -f" } else { "rm" };
                let what = format!("there is a VM named {name} already");
                let help = format!("choose another name, or take it away: lunette {away} {name}");
                return Err(Problem::new(what, help).at("--name"));
            }
            Some(name) => name.to_owned(),
            None => free_name(&like_a_name(like), &taken),
        };
        let id = new_id().map_err(failed)?;
        let spec = spec(id.clone(), name);
        let state = State::Starting { owner: Identity::of_us() };
        let made = self.vms().join(format!("{HIDDEN}new-{id}"));
        let folder = self.vms().join(&id);
        let make = || {
            DirBuilder::new().mode(0o700).create(&made)?;
            fs::write(made.join(PAYLOAD), payload)?;
            save(&made, SPEC, &spec)?;
            save(&made, STATE, &state)?;
            fs::rename(&made, &folder)
        };
        make().map_err(|e| {
            let _ = fs::remove_dir_all(&made);
            failed(e)
        })?;
        Ok(Entry { folder, spec, state })
    }

    /// All of them, the newest first; those that can't be read last.
    pub fn all(&self) -> Result<Vec<Result<Entry, Unreadable>>, Problem> {
        let entries = match fs::read_dir(self.vms()) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
        };
        let entries = entries.map_err(|e| {
            Problem::new(format!("VMs can't be listed: {e}"), "see that you may read it")
                .at(self.vms().display())
        })?;
        let ids = entries.iter().filter_map(|entry| entry.file_name().into_string().ok());
        let mut all: Vec<_> =
            ids.filter(|id| !id.starts_with(HIDDEN)).filter_map(|id| self.read(&id)).collect();
        all.sort_by_key(|entry| entry.as_ref().ok().map(|entry| std::cmp::Reverse(entry.spec.created)));
        let bad = all.iter().take_while(|entry| entry.is_err()).count();
        all.rotate_left(bad);
        Ok(all)
    }

    /// `None`: it was taken away in between.
    fn read(&self, id: &str) -> Option<Result<Entry, Unreadable>> {
        let folder = self.vms().join(id);
        let read = || -> io::Result<Entry> {
            let (spec, state) = (load(&folder, SPEC)?, load(&folder, STATE)?);
            Ok(Entry { folder: folder.clone(), spec, state })
        };
        match read() {
            Ok(entry) => Some(Ok(entry)),
            Err(_) if !folder.exists() => None,
            Err(e) => {
                let help = format!("take it away: lunette rm -f {id}");
                let problem = Problem::new(format!("what is known of the VM {id} can't be read: {e}"), help);
                Some(Err(Unreadable { id: id.to_owned(), problem: problem.at(folder.display()) }))
            }
        }
    }

    /// The VM of this name, or whose identifier begins like this.
    pub fn find(&self, name: &str) -> Result<Entry, Problem> {
        let all = self.all()?;
        if let Some(entry) = all.iter().flatten().find(|entry| entry.spec.name == name) {
            return Ok(entry.clone());
        }
        let id = |entry: &Result<Entry, Unreadable>| match entry {
            Ok(entry) => entry.spec.id.clone(),
            Err(unreadable) => unreadable.id.clone(),
        };
        let begins: Vec<_> =
            all.iter().filter(|entry| !name.is_empty() && id(entry).starts_with(name)).collect();
        match begins[..] {
            [one] => one.clone().map_err(|unreadable| unreadable.problem),
            [] => Err(unknown(name)),
            _ => {
                let what = format!("{name} is the beginning of {} VMs' identifiers", begins.len());
                Err(Problem::new(what, "give more of it, or the VM's name: lunette ps -a"))
            }
        }
    }

    /// Who has published this port of the machine.
    pub fn publisher(&self, host: SocketAddr, protocol: Protocol) -> Option<String> {
        let all = self.all().ok()?;
        let publishes = |entry: &&Entry| {
            let own = |p: &Published| p.protocol == protocol && overlap(p.host, host);
            entry.spec.published.iter().any(own) && entry.lives()
        };
        all.iter().flatten().find(publishes).map(|entry| entry.spec.name.clone())
    }

    /// Takes away a VM that has ended.
    pub fn remove(&self, entry: &Entry) -> Result<(), Problem> {
        self.remove_id(&entry.spec.id)
    }

    /// Takes away what can't be read, if it is there under exactly this name.
    pub fn remove_unreadable(&self, id: &str) -> Result<bool, Problem> {
        let bad = self.all()?.into_iter().any(|entry| entry.is_err_and(|unreadable| unreadable.id == id));
        if bad {
            self.remove_id(id)?;
        }
        Ok(bad)
    }

    fn remove_id(&self, id: &str) -> Result<(), Problem> {
        let remove = || {
            let _lock = self.lock()?;
            let gone = self.vms().join(format!("{HIDDEN}gone-{id}"));
            match fs::rename(self.vms().join(id), &gone) {
                // Somebody else was quicker.
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                renamed => renamed.and_then(|()| fs::remove_dir_all(&gone)),
            }
        };
        remove().map_err(|e| {
            Problem::new(format!("the VM can't be taken away: {e}"), "see that you may write there")
                .at(self.vms().join(id).display())
        })
    }

    /// Takes away what others left half made or half gone. Only with the lock.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.vms()) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(HIDDEN) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

pub fn unknown(name: &str) -> Problem {
    Problem::new(format!("there is no VM {name}"), "lunette ps -a lists them all").code(exit::FAILURE)
}

impl Entry {
    /// What is in a folder, for its supervisor.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.to_owned(), spec: load(folder, SPEC)?, state: load(folder, STATE)? })
    }

    /// Reads again how it is.
    pub fn refresh(&mut self) -> io::Result<()> {
        self.state = load(&self.folder, STATE)?;
        Ok(())
    }

    /// Who owns it, if it has not ended.
    pub fn owner(&self) -> Option<&Identity> {
        match &self.state {
            State::Starting { owner } | State::Running { owner, .. } => {
                Some(owner).filter(|owner| owner.alive())
            }
            State::Ended(_) => None,
        }
    }

    pub fn lives(&self) -> bool {
        self.owner().is_some()
    }

    /// How it ended; for one whose supervisor is gone, what must have happened. `None`: it has not.
    pub fn ended(&self) -> Option<Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended.clone()),
            _ if self.lives() => None,
            state => {
                let since = match state {
                    State::Running { since, .. } => Some(*since),
                    _ => None,
                };
                let what = "its supervisor was killed, and the VM with it";
                let problem = Problem::new(what, format!("lunette rm {}", self.spec.name)).code(exit::KILLED);
                Some(Ended {
                    code: exit::KILLED,
                    how: "lost".into(),
                    problem: Some(problem),
                    since,
                    until: None,
                })
            }
        }
    }

    pub fn save(&mut self, state: State) -> io::Result<()> {
        save(&self.folder, STATE, &state)?;
        self.state = state;
        Ok(())
    }

    /// The app is not needed any more, and gives its room to what is still to be written.
    pub fn drop_payload(&self) {
        let _ = fs::remove_file(self.folder.join(PAYLOAD));
    }

    /// How long it may take to finish, for its supervisor to read.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        save(&self.folder, STOP, &patience)
    }

    pub fn patience(folder: &Path) -> Option<Duration> {
        load(folder, STOP).ok()
    }
}

/// Whole, or not at all.
fn save(folder: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    file.persist(folder.join(name))?;
    Ok(())
}

fn load<T: DeserializeOwned>(folder: &Path, name: &str) -> io::Result<T> {
    let bytes = fs::read(folder.join(name))?;
    serde_json::from_slice(&bytes).map_err(|e| io::Error::other(format!("{name}: {e}")))
}

fn new_id() -> io::Result<String> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Is it fit for a VM's name?
pub fn parse_name(text: &str) -> Result<String, String> {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if first && rest && text.len() <= 63 {
        return Ok(text.to_owned());
    }
    Err("a name is letters, digits and, after the first, `_.-`; at most 63 of them".into())
}

/// The name of an app, made fit for a VM's.
fn like_a_name(app: &str) -> String {
    let fit = app.chars().map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' });
    let fit: String = fit.skip_while(|c| !c.is_ascii_alphanumeric()).take(50).collect();
    if fit.is_empty() { "vm".to_owned() } else { fit }
}

fn free_name(like: &str, taken: &HashSet<&str>) -> String {
    let more = (2u64..).map(|n| format!("{like}-{n}"));
    std::iter::once(like.to_owned())
        .chain(more)
        .find(|name| !taken.contains(name.as_str()))
        .unwrap_or_default()
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(crate) fn spec(id: String, name: String) -> Spec {
        Spec {
            id,
            name,
            app: "hello.wasm".into(),
            created: SystemTime::now(),
            qemu: "/usr/bin/qemu".into(),
            qemu_version: "7.2".into(),
            image: "/lunette.elf".into(),
            words: vec!["lunette.marks".into()],
            machine: "microvm".into(),
            accel: "tcg".into(),
            memory: 64 << 20,
            asked_memory: None,
            network: None,
            published: vec![Published {
                host: "0.0.0.0:8080".parse().unwrap(),
                guest: 80,
                protocol: Protocol::Tcp,
            }],
            timeout: Some(Duration::from_millis(1500)),
            drains: true,
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(dir.path().join("state"));
        (dir, store)
    }

    fn ended() -> State {
        State::Ended(Ended { code: 3, how: "exited".into(), problem: None, since: None, until: None })
    }

    #[test]
    fn names_are_given_once() {
        let (_dir, store) = store();
        let names = |wanted| store.create(wanted, "My app!", b"", spec).map(|entry| entry.spec.name);
        assert_eq!(names(None).unwrap(), "My-app-");
        assert_eq!(names(None).unwrap(), "My-app--2");
        assert_eq!(names(Some("web")).unwrap(), "web");
        let e = names(Some("web")).unwrap_err();
        assert!(e.what.contains("a VM named web already") && e.help.ends_with("lunette rm -f web"), "{e:?}");
        let mut web = store.find("web").unwrap();
        web.save(ended()).unwrap();
        assert!(names(Some("web")).unwrap_err().help.ends_with("lunette rm web"));
        store.remove(&web).unwrap();
        assert!(names(Some("web")).is_ok());
        assert_eq!(like_a_name("\u{1f319}"), "vm");
        for bad in ["", "-x", "a/b", "a b", "../x", &"x".repeat(64)] {
            assert!(parse_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn two_at_once_get_two_names() {
        let (_dir, store) = store();
        let make = |n: usize| {
            let store = store.clone();
            std::thread::spawn(move || store.create((n < 4).then_some("same"), "x", b"", spec).is_ok())
        };
        let made: Vec<_> = (0..12).map(make).collect();
        let good = made.into_iter().map(|thread| thread.join().unwrap()).filter(|made| *made).count();
        assert_eq!(good, 1 + 8);
        let names: HashSet<_> =
            store.all().unwrap().into_iter().map(|entry| entry.unwrap().spec.name).collect();
        assert_eq!(names.len(), 9);
    }

    #[test]
    fn it_is_private_and_found_by_name_or_identifier() {
        let (_dir, store) = store();
        let entry = store.create(None, "web", b"payload", spec).unwrap();
        assert_eq!(fs::metadata(&entry.folder).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&store.0).unwrap().permissions().mode() & 0o777, 0o700);
        let id = &entry.spec.id;
        assert_eq!(store.find(&id[..4]).unwrap().spec.name, "web");
        assert_eq!(store.find("web").unwrap().spec.timeout, entry.spec.timeout);
        assert!(entry.lives() && store.find("").is_err());
        let e = store.find("nobody").unwrap_err();
        assert!(e.what == "there is no VM nobody" && e.help.contains("ps -a"));
        let at = |text: &str| store.publisher(text.parse().unwrap(), Protocol::Tcp);
        assert_eq!(at("127.0.0.1:8080").as_deref(), Some("web"));
        assert_eq!((at("127.0.0.1:8081"), at("[::]:8080")), (None, None));
    }

    #[test]
    fn one_whose_supervisor_is_gone_is_lost() {
        let (_dir, store) = store();
        let mut entry = store.create(None, "web", b"", spec).unwrap();
        let owner = Identity { start: 1, ..Identity::of_us() };
        entry.save(State::Running { owner, since: SystemTime::now() }).unwrap();
        let entry = store.find("web").unwrap();
        let ended = entry.ended().unwrap();
        assert!(!entry.lives() && ended.how == "lost" && ended.code == 137);
        assert_eq!(store.publisher("0.0.0.0:8080".parse().unwrap(), Protocol::Tcp), None);
    }

    #[test]
    fn what_can_not_be_read_does_not_hide_the_rest() {
        let (_dir, store) = store();
        let one = store.create(None, "one", b"", spec).unwrap();
        let two = store.create(None, "two", b"", spec).unwrap();
        fs::write(one.folder.join(STATE), "{\"status\":").unwrap();
        // Left by one who was killed.
        fs::create_dir(store.vms().join(".new-1234")).unwrap();
        let all = store.all().unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].as_ref().unwrap().spec.id, two.spec.id);
        let bad = all[1].as_ref().unwrap_err();
        assert!(bad.id == one.spec.id && bad.problem.help.ends_with(&format!("lunette rm -f {}", bad.id)));
        assert!(store.find(&one.spec.id).unwrap_err().what.contains("can't be read"));
        assert!(!store.remove_unreadable(&two.spec.id).unwrap() && store.remove_unreadable(&bad.id).unwrap());
        store.create(None, "three", b"", spec).unwrap();
        assert_eq!(fs::read_dir(store.vms()).unwrap().count(), 2);
    }

    #[test]
    fn a_place_that_can_not_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let e = Store::at(&file).create(None, "x", b"", spec).unwrap_err();
        assert!(e.what.contains("can't be written down") && e.help.contains("LUNETTE_STATE"), "{e:?}");
        assert!(Store::at("/nonexistent/x").all().unwrap().is_empty());
    }
}
