//! `run --watch`: looks at the files that an app was made of, and brings it its new version when they change.
//!
//! Promises: a version that can't run is not sent, but told; one that is the same is not sent either; while a file is being
//! written, it is waited for. Does not: know how a version gets to its app ([`Line`]).

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant, SystemTime},
};

use lunette_hostcalls::farewell::Version;

use crate::problem::{Problem, Voice};

/// How often the files are looked at.
const POLL: Duration = Duration::from_millis(100);
/// For so long nothing may change any more before they are read.
const QUIET: Duration = Duration::from_millis(20);
/// How long an app may take to go on with its new version, or not to.
const PATIENCE: Duration = Duration::from_secs(15);

/// A version: its payload, and the files that it was made of with the folders that they are in.
pub type Made = (Vec<u8>, Vec<PathBuf>);

/// What is watched.
pub struct Watch {
    pub make: Box<dyn Fn() -> Result<Made, Problem> + Send>,
    /// What runs.
    pub made: Made,
    pub voice: Voice,
}

/// The way to the app, and back.
pub struct Line {
    /// False: the app is gone.
    pub send: Box<dyn FnMut(Vec<u8>) -> bool + Send>,
    pub answers: Receiver<Version>,
}

impl Watch {
    /// Watches on a thread of its own, which ends with the app or with the process.
    pub fn start(self, line: Line) {
        std::thread::spawn(move || self.follow(line));
    }

    fn follow(self, mut line: Line) {
        let Self { make, made: (mut payload, mut sources), voice } = self;
        voice.say(&format!("watching {} files", sources.iter().filter(|path| path.is_file()).count()));
        let refused = |problem: &Problem| {
            voice.error(problem);
            voice.say("the version before goes on");
        };
        let mut seen = stamps(&sources);
        loop {
            std::thread::sleep(POLL);
            let mut now = stamps(&sources);
            if now == seen {
                continue;
            }
            let begun = Instant::now();
            while now != seen {
                seen = now;
                std::thread::sleep(QUIET);
                now = stamps(&sources);
            }
            match make() {
                Ok((new, _)) if new == payload => {}
                Ok((new, files)) => {
                    (payload, sources) = (new.clone(), files);
                    seen = stamps(&sources);
                    line.answers.try_iter().for_each(drop);
                    if !(line.send)(new) {
                        return;
                    }
                    match line.answers.recv_timeout(PATIENCE) {
                        Ok(Version::Taken) => {
                            voice.say(&format!("reloaded in {} ms", begun.elapsed().as_millis()));
                        }
                        Ok(Version::Refused(why)) => refused(&Problem::from_line(&why)),
                        Err(RecvTimeoutError::Timeout) => voice.error(&Problem::new(
                            format!("the app did not take its new version within {PATIENCE:?}"),
                            "start it again, with more memory (-m) if it is large",
                        )),
                        Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
                Err(problem) => refused(&problem),
            }
        }
    }
}

/// What changes with a file or folder.
type Stamp = Option<(SystemTime, u64, u64)>;

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    paths.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_change_is_sent_once_and_what_is_no_version_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("app.lua");
        fs::write(&file, "1").unwrap();
        let make = {
            let file = file.clone();
            move || match fs::read(&file) {
                Ok(bytes) if bytes != b"bad" => Ok((bytes, vec![file.clone()])),
                _ => Err(Problem::new("it is bad", "")),
            }
        };
        let watch = Watch { made: make().unwrap(), make: Box::new(make), voice: Voice::new(true, false) };
        let (sent, inbox) = channel();
        let (tell, answers) = channel();
        let send = move |bytes| {
            let _ = tell.send(Version::Taken);
            sent.send(bytes).is_ok()
        };
        watch.start(Line { send: Box::new(send), answers });
        let soon = Duration::from_secs(5);
        std::thread::sleep(2 * POLL);
        fs::write(&file, "22").unwrap();
        assert_eq!(inbox.recv_timeout(soon), Ok(b"22".to_vec()));
        fs::write(&file, "bad").unwrap();
        assert!(inbox.recv_timeout(5 * POLL).is_err());
        // As an editor writes it: another file under its name.
        let new = dir.path().join("new");
        fs::write(&new, "333").unwrap();
        fs::rename(new, &file).unwrap();
        assert_eq!(inbox.recv_timeout(soon), Ok(b"333".to_vec()));
        fs::write(&file, "333").unwrap();
        assert!(inbox.recv_timeout(5 * POLL).is_err(), "nothing is new");
    }
}
