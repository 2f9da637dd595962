//! The folder of a run, and the named pipes in it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use crate::{identity, problem::Problem};

/// A private folder for one run, removed with it. The path is short: a socket's name has 107 bytes.
pub(super) fn run_folder() -> Result<tempfile::TempDir, Problem> {
    let temp = std::env::temp_dir();
    let temp = if temp.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { temp };
    let private = fs::Permissions::from_mode(0o700);
    sweep(&temp);
    let make = || tempfile::Builder::new().prefix(&prefix()).permissions(private).tempdir_in(&temp);
    make().map_err(|e| {
        Problem::new(
            format!("there is no room for the run's files: {e}"),
            "set TMPDIR to a folder that can be written",
        )
        .at(temp.display())
    })
}

const PREFIX: &str = "lunette-";

/// How the names of our temporary files begin: they tell whose they are.
pub fn prefix() -> String {
    format!("{PREFIX}{}-", identity::mark())
}

/// Takes away what processes left behind that were killed. Best effort: it is a courtesy.
fn sweep(temp: &Path) {
    let Ok(entries) = fs::read_dir(temp) else { return };
    let us = rustix::process::geteuid().as_raw();
    for entry in entries.flatten() {
        let name = entry.file_name();
        // `lunette-PID-START-XXXXXX`
        let mark = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.rsplit_once('-'));
        let Some((mark, _)) = mark else { continue };
        // Of the link itself, should it be one.
        let ours = entry.metadata().is_ok_and(|metadata| metadata.uid() == us);
        if !ours || identity::owner_is_gone(mark) != Some(true) {
            continue;
        }
        let _ = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
            _ => fs::remove_file(entry.path()),
        };
    }
}

/// A named pipe that is never at its end while `keep` lives.
pub(super) struct Fifo {
    pub(super) reader: fs::File,
    pub(super) keep: fs::File,
}

impl Fifo {
    pub(super) fn make(path: &Path) -> Result<Self, Problem> {
        let make = || -> io::Result<Self> {
            rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::from_raw_mode(0o600))?;
            // Non-blocking, or it would wait for a writer here.
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            let reader = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
            let keep = fs::OpenOptions::new().write(true).open(path)?;
            let blocking = rustix::fs::fcntl_getfl(&reader)? - OFlags::NONBLOCK;
            rustix::fs::fcntl_setfl(&reader, blocking)?;
            Ok(Self { reader, keep })
        };
        make().map_err(|e| {
            Problem::new(format!("a named pipe can't be made: {e}"), "set TMPDIR to a folder on a local disk")
                .at(path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_is_swept_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        let living = format!("{}abc", prefix());
        for name in
            ["lunette-1-1-abcdef", "lunette-x-1-abcdef", "lunette-abcdef", "other-1-1-abcdef", &living]
        {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("f"), "").unwrap();
        }
        fs::write(at("lunette-1-1-payload"), "").unwrap();
        sweep(temp.path());
        let mut left: Vec<_> = fs::read_dir(temp.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut wanted =
            vec!["lunette-x-1-abcdef".to_owned(), "lunette-abcdef".into(), "other-1-1-abcdef".into(), living];
        wanted.sort();
        assert_eq!(left, wanted);
    }

    #[test]
    fn the_folder_of_a_run_is_private_and_goes_away() {
        let folder = run_folder().unwrap();
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let fifo = Fifo::make(&path.join("pipe")).unwrap();
        fs::write(path.join("pipe"), "words").unwrap();
        drop(fifo.keep);
        assert_eq!(io::read_to_string(fifo.reader).unwrap(), "words");
        drop(folder);
        assert!(!path.exists());
    }
}
