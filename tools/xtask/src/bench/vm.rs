//! The QEMU command that the CLI would run, taken apart so that a bench can change a word of it.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::sh::{Result, command, read};

/// What is measured.
pub(crate) struct Bench {
    pub(crate) cli: PathBuf,
    pub(crate) hello: PathBuf,
    pub(crate) image: PathBuf,
}

impl Bench {
    /// `lunette run` of an app on a machine, emulated: KVM would measure another thing.
    pub(crate) fn run(&self, machine: &str, app: &Path) -> Command {
        let mut run = command(&self.cli, &["run", "--accel", "tcg", "--machine", machine]);
        run.env("LUNETTE_IMAGE", &self.image).arg(app);
        run
    }

    /// The words of the command that it would start.
    pub(crate) fn words(&self, machine: &str, app: &Path) -> Result<Words> {
        self.words_with(machine, app, &[])
    }

    /// The same, with more flags.
    pub(crate) fn words_with(&self, machine: &str, app: &Path, flags: &[&str]) -> Result<Words> {
        let mut run = command(&self.cli, &["run", "--accel", "tcg", "--dry-run", "--machine", machine]);
        let line = read(run.env("LUNETTE_IMAGE", &self.image).args(flags).arg(app))?;
        // It is written for a shell, so a shell takes it apart.
        let script = format!("printf '%s\\0' {}", line.trim_end());
        let text = read(&mut command("sh", &["-c", &script]))?;
        Ok(Words(text.split_terminator('\0').map(str::to_owned).collect()))
    }
}

pub(crate) struct Words(Vec<String>);

impl Words {
    /// Changes the word after `option`.
    pub(crate) fn set(&mut self, option: &str, change: impl FnOnce(&str) -> String) -> Result<()> {
        let at = self.0.iter().position(|word| word == option);
        let at = at.ok_or_else(|| format!("the command has no {option}: {}", self.0.join(" ")))?;
        let word = self.0.get_mut(at + 1).ok_or_else(|| format!("{option} is the last word"))?;
        *word = change(word);
        Ok(())
    }

    /// Sends what goes to the report port into a file.
    pub(crate) fn report_to(&mut self, path: &Path) -> Result<()> {
        let begin = "file,id=report,path=";
        let word = self.0.iter_mut().find(|word| word.starts_with(begin));
        let word = word.ok_or("the command has no report channel")?;
        *word = format!("{begin}{}", path.display());
        Ok(())
    }

    pub(crate) fn add(&mut self, more: &[&str]) {
        self.0.extend(more.iter().map(|word| (*word).to_owned()));
    }

    pub(crate) fn start(&self) -> Result<Vm> {
        let (program, args) = self.0.split_first().ok_or("an empty command")?;
        let begun = Instant::now();
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{program}: {e}"))?;
        Ok(Vm { child, begun })
    }
}

/// A VM that is killed when it is dropped.
pub(crate) struct Vm {
    child: Child,
    begun: Instant,
}

impl Vm {
    /// Time from its start to its first byte of output; `None` if it ended without.
    pub(crate) fn first_byte(mut self) -> Result<Option<Duration>> {
        let mut out = self.child.stdout.take().ok_or("no output")?;
        let read = out.read(&mut [0])?;
        Ok((read == 1).then(|| self.begun.elapsed()))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
