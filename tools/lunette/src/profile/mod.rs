//! `--profile FILE.svg`: where native code spent its time, as a flame graph, and the stacks that it was drawn from beside it.
//!
//! Promises: a file that can't be written is told before anything runs. Does not: sample (the machine does, `runtimes/native`).

mod svg;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use lunette_bundle::{Engine, GuestPlan};
use lunette_hostcalls::profile::Profile;

use crate::{
    problem::{Problem, Voice},
    script,
};

/// What tells the kernel to take samples.
pub const WORD: &str = "lunette.profile";

/// The files of a profile that is wanted, open.
pub struct Wanted {
    svg: Output,
    folded: Output,
}

struct Output {
    path: PathBuf,
    file: File,
}

impl Wanted {
    pub fn create(svg: &Path) -> Result<Self, Problem> {
        Ok(Self { svg: Output::create(svg)?, folded: Output::create(&svg.with_extension("folded"))? })
    }

    /// There is nothing to write: the VM did not come to an end of its own.
    pub fn give_up(self, voice: &Voice) {
        voice.say("there is no profile: the VM did not live to tell it");
        // Empty, they are no good to anybody.
        for output in [self.svg, self.folded] {
            let _ = std::fs::remove_file(output.path);
        }
    }

    /// Writes both files. `app`: as it was named.
    pub fn write(self, profile: &Profile, app: &str, voice: &Voice) -> Result<(), Problem> {
        let (svg, folded) = (self.svg.path.clone(), self.folded.path.clone());
        self.svg.write(|out| out.write_all(svg::draw(profile, app).as_bytes()))?;
        self.folded.write(|out| profile.folded().try_for_each(|line| writeln!(out, "{line}")))?;
        if profile.ticks() == 0 {
            voice.say("the profile is empty: no native code ran on for long enough to be sampled");
        } else {
            let (svg, folded) = (svg.display(), folded.display());
            voice.say(&format!("{} samples are in {svg}, and as stacks in {folded}", profile.ticks()));
        }
        if profile.cut() > 0 {
            let cut = profile.cut();
            voice.say(&format!(
                "{cut} of them were of more different stacks than are kept: they count for their callers"
            ));
        }
        Ok(())
    }
}

impl Output {
    fn create(path: &Path) -> Result<Self, Problem> {
        match File::create(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file }),
            Err(error) => Err(unwritable(path, &error)),
        }
    }

    fn write(self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Problem> {
        let mut out = BufWriter::new(self.file);
        write(&mut out).and_then(|()| out.flush()).map_err(|error| unwritable(&self.path, &error))
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Problem {
    let what = format!("the profile can't be written: {error}");
    Problem::new(what, "name another file: --profile FILE.svg").at(path.display())
}

/// Only what is compiled has samples taken.
pub fn refuse(app: &GuestPlan) -> Result<(), Problem> {
    let (what, help) = if script::is_script(&app.main) {
        ("--profile is of native code, and this is a Lua script", "leave --profile out")
    } else if app.engine == Engine::Wasmi {
        (
            "--profile is of native code, and wasmi is to interpret this",
            "leave out --engine wasmi (or `engine` in lunette.toml): it is compiled then, and functions keep their names",
        )
    } else {
        return Ok(());
    };
    Err(Problem::new(what, help).at(&app.main))
}
