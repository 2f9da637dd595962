//! What a VM in the background said: a line of JSON for each line of its output, as docker's `json-file` has it.
//!
//! ```text
//! {"time":"2026-11-21T07:33:57.123456Z","stream":"stdout","log":"Hello\n"}
//! ```
//!
//! `stream` is `stdout`, `stderr`, or `lunette` for our own words. A record without a line feed at its end goes
//! on in the next one of its stream: a line is cut after 16 KiB, and when it does not end within a tenth of a
//! second. What is not UTF-8 is in `hex` in place of `log`. A file that has grown to [`LIMIT`] becomes `log.1`, and the
//! one before it goes.
//!
//! Promises: nothing is lost or changed but what there is no room for, and that is said as soon as there is room; the
//! VM never waits for a disk that is full.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};

pub const FILE: &str = "log";
pub const OLDER: &str = "log.1";
/// How large a file may grow; there are two.
const LIMIT: u64 = 8 << 20;
/// The longest piece of a line.
const PIECE: usize = 16 * 1024;
/// How long the end of a line is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
    Lunette,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub time: String,
    pub stream: Stream,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

impl Record {
    fn new(stream: Stream, bytes: &[u8]) -> Self {
        let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
        let log = str::from_utf8(bytes).ok().map(str::to_owned);
        let hex = if log.is_some() { None } else { Some(bytes.iter().map(|b| format!("{b:02x}")).collect()) };
        Self { time, stream, log, hex }
    }

    /// Is its line over with it?
    pub fn ends_line(&self) -> bool {
        match (&self.log, &self.hex) {
            (Some(log), _) => log.ends_with('\n'),
            (None, hex) => hex.as_ref().is_some_and(|hex| hex.ends_with("0a")),
        }
    }

    pub fn bytes(self) -> Vec<u8> {
        match (self.log, self.hex) {
            (Some(log), _) => log.into_bytes(),
            (None, Some(hex)) => {
                let pairs = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap_or_default());
                pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
            }
            (None, None) => Vec::new(),
        }
    }
}

/// A log that is being written. Clones write to the same.
#[derive(Clone)]
pub struct Log(Arc<(Mutex<Inner>, Condvar)>);

struct Inner {
    folder: PathBuf,
    limit: u64,
    file: Option<File>,
    size: u64,
    /// Lines that have not ended: of standard output, and of standard error.
    partial: [Partial; 2],
    lost: u64,
    closed: bool,
}

#[derive(Default)]
struct Partial {
    bytes: Vec<u8>,
    /// When it is written even so.
    due: Option<Instant>,
}

impl Log {
    /// Begins one in this folder, or goes on with the one that is there.
    pub fn open(folder: &Path) -> Self {
        Self::with_limit(folder, LIMIT)
    }

    fn with_limit(folder: &Path, limit: u64) -> Self {
        let inner = Inner {
            folder: folder.to_owned(),
            limit,
            file: None,
            size: 0,
            partial: Default::default(),
            lost: 0,
            closed: false,
        };
        let log = Self(Arc::new((Mutex::new(inner), Condvar::new())));
        let other = log.clone();
        std::thread::spawn(move || other.write_what_is_due());
        log
    }

    /// One of the guest's streams, to write to.
    pub fn stream(&self, stream: Stream) -> Box<dyn Write + Send> {
        Box::new(Writer { log: self.clone(), stream })
    }

    /// A line of our own.
    pub fn say(&self, line: &str) {
        self.lock().write(&[Record::new(Stream::Lunette, format!("{line}\n").as_bytes())]);
    }

    /// Writes what is left.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.flush(None);
        drop(inner);
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_what_is_due(&self) {
        let mut inner = self.lock();
        while !inner.closed {
            let now = Instant::now();
            inner.flush(Some(now));
            let next = inner.partial.iter().filter_map(|partial| partial.due).min();
            inner = match next {
                None => self.0.1.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let wait = self.0.1.wait_timeout(inner, at.saturating_duration_since(now));
                    wait.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

struct Writer {
    log: Log,
    stream: Stream,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.log.lock().add(self.stream, bytes) {
            self.log.0.1.notify_all();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Inner {
    fn partial(&mut self, stream: Stream) -> &mut Partial {
        &mut self.partial[usize::from(stream == Stream::Stderr)]
    }

    /// Takes output. Is there a line now that has not ended?
    fn add(&mut self, stream: Stream, bytes: &[u8]) -> bool {
        let mut records = Vec::new();
        let partial = self.partial(stream);
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            partial.bytes.extend_from_slice(part);
            while partial.bytes.len() > PIECE {
                let cut = whole(&partial.bytes[..PIECE]);
                records.push(Record::new(stream, &partial.bytes[..cut]));
                partial.bytes.drain(..cut);
            }
            if part.ends_with(b"\n") {
                records.push(Record::new(stream, &partial.bytes));
                partial.bytes.clear();
                partial.due = None;
            }
        }
        let begun = !partial.bytes.is_empty() && partial.due.is_none();
        if begun {
            partial.due = Some(Instant::now() + PATIENCE);
        }
        self.write(&records);
        begun
    }

    /// Writes the lines that have not ended and were due at `now`; `None`: all.
    fn flush(&mut self, now: Option<Instant>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = self.partial(stream);
            if now.is_some_and(|now| partial.due.is_none_or(|due| due > now)) {
                continue;
            }
            // The rest of a letter may follow, unless there is no more to come.
            let cut = if now.is_some() { whole(&partial.bytes) } else { partial.bytes.len() };
            let piece: Vec<u8> = partial.bytes.drain(..cut).collect();
            partial.due = None;
            if !piece.is_empty() {
                self.write(&[Record::new(stream, &piece)]);
            }
        }
    }

    fn write(&mut self, records: &[Record]) {
        if records.is_empty() {
            return;
        }
        let mut text = Vec::new();
        if self.lost > 0 {
            let words = format!("{} bytes of the log are lost: there was no room for them\n", self.lost);
            line(&mut text, &Record::new(Stream::Lunette, words.as_bytes()));
        }
        let own = text.len();
        records.iter().for_each(|record| line(&mut text, record));
        match self.append(&text) {
            Ok(()) => self.lost = 0,
            Err(_) => self.lost += (text.len() - own) as u64,
        }
    }

    /// All of it, or nothing.
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let path = self.folder.join(FILE);
        if self.file.is_some() && self.size > 0 && self.size + text.len() as u64 > self.limit {
            std::fs::rename(&path, self.folder.join(OLDER))?;
            self.file = None;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
                self.size = file.metadata()?.len();
                self.file.insert(file)
            }
        };
        if let Err(e) = file.write_all(text) {
            // Half a record would spoil the next one.
            let _ = file.set_len(self.size);
            return Err(e);
        }
        self.size += text.len() as u64;
        Ok(())
    }
}

fn line(text: &mut Vec<u8>, record: &Record) {
    // Records have nothing that JSON has no form for, and memory takes what it is given.
    let _ = serde_json::to_writer(&mut *text, record);
    text.push(b'\n');
}

/// How much of it does not end in the middle of a letter.
fn whole(bytes: &[u8]) -> usize {
    match str::from_utf8(bytes) {
        Err(e) if e.error_len().is_none() => e.valid_up_to(),
        // It is not UTF-8, so that any cut will do.
        _ => bytes.len(),
    }
}

/// Reads a log while it may still be written.
pub struct Reader {
    folder: PathBuf,
    file: Option<BufReader<File>>,
    /// A record that is being written.
    begun: Vec<u8>,
    older: bool,
}

impl Reader {
    /// From its beginning.
    pub fn open(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), file: None, begun: Vec::new(), older: true }
    }

    /// What is there by now and was not read yet.
    pub fn read(&mut self, mut each: impl FnMut(Record) -> io::Result<()>) -> io::Result<()> {
        loop {
            if self.file.is_none() && !self.next_file()? {
                return Ok(());
            }
            // Whether another has taken its place is asked first: then it is at its end for good.
            let over = self.older || self.replaced();
            while self.next_line()? {
                // What is no record was not written by us.
                if let Ok(record) = serde_json::from_slice(&self.begun) {
                    each(record)?;
                }
                self.begun.clear();
            }
            if !over {
                return Ok(());
            }
            (self.file, self.older) = (None, false);
            self.begun.clear();
        }
    }

    fn next_file(&mut self) -> io::Result<bool> {
        for name in if self.older { &[OLDER, FILE][..] } else { &[FILE] } {
            match File::open(self.folder.join(name)) {
                Ok(file) => {
                    self.file = Some(BufReader::new(file));
                    self.older = *name == OLDER;
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }

    /// Has the file that is read got another name?
    fn replaced(&self) -> bool {
        let ours = self.file.as_ref().and_then(|file| file.get_ref().metadata().ok());
        let there = std::fs::metadata(self.folder.join(FILE)).ok();
        ours.map(|m| (m.dev(), m.ino())) != there.map(|m| (m.dev(), m.ino()))
    }

    /// Adds to what was begun. Is it a whole line?
    fn next_line(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        file.read_until(b'\n', &mut self.begun)?;
        Ok(self.begun.ends_with(b"\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(reader: &mut Reader) -> Vec<Record> {
        let mut records = Vec::new();
        reader
            .read(|record| {
                records.push(record);
                Ok(())
            })
            .unwrap();
        records
    }

    fn text(records: Vec<Record>, of: Stream) -> Vec<u8> {
        records.into_iter().filter(|record| record.stream == of).flat_map(Record::bytes).collect()
    }

    #[test]
    fn lines_are_records_and_streams_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path());
        let (mut out, mut err) = (log.stream(Stream::Stdout), log.stream(Stream::Stderr));
        out.write_all(b"one\ntw").unwrap();
        err.write_all(b"oh\n").unwrap();
        out.write_all(b"o\n").unwrap();
        log.say("ours");
        out.write_all("no end: \u{20ac}".as_bytes()).unwrap();
        log.close();
        let records = all(&mut Reader::open(dir.path()));
        let lines: Vec<_> = records.iter().map(|r| (r.stream, r.log.as_deref().unwrap())).collect();
        assert_eq!(
            lines,
            [
                (Stream::Stdout, "one\n"),
                (Stream::Stderr, "oh\n"),
                (Stream::Stdout, "two\n"),
                (Stream::Lunette, "ours\n"),
                (Stream::Stdout, "no end: \u{20ac}"),
            ]
        );
        assert!(records.iter().all(|r| r.time.ends_with('Z') && r.time.len() == 27));
    }

    #[test]
    fn every_byte_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path());
        let bytes: Vec<u8> = (0..=255).chain("\u{1f319} \r\n".bytes()).cycle().take(100_000).collect();
        let mut out = log.stream(Stream::Stdout);
        bytes.chunks(7).for_each(|piece| out.write_all(piece).unwrap());
        out.write_all(&vec![b'x'; 5 * PIECE]).unwrap();
        log.close();
        let read = text(all(&mut Reader::open(dir.path())), Stream::Stdout);
        assert!(read[..100_000] == bytes && read.len() == 100_000 + 5 * PIECE);
    }

    #[test]
    fn a_prompt_without_an_end_is_written_soon_and_letters_stay_whole() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path());
        let mut out = log.stream(Stream::Stdout);
        out.write_all(b"name? \xe2\x82").unwrap();
        let mut reader = Reader::open(dir.path());
        let end = Instant::now() + Duration::from_secs(10);
        let mut seen = Vec::new();
        while seen.is_empty() {
            assert!(Instant::now() < end, "it was not written");
            std::thread::sleep(Duration::from_millis(10));
            seen = all(&mut reader);
        }
        assert_eq!(text(seen, Stream::Stdout), b"name? ");
        out.write_all(b"\xac\n").unwrap();
        assert_eq!(text(all(&mut reader), Stream::Stdout), "\u{20ac}\n".as_bytes());
        log.close();
    }

    #[test]
    fn it_is_bounded_and_a_reader_follows() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::with_limit(dir.path(), 4096);
        let mut out = log.stream(Stream::Stdout);
        let mut reader = Reader::open(dir.path());
        let mut read = Vec::new();
        for n in 0..1000 {
            writeln!(out, "line {n}").unwrap();
            if n % 10 == 0 {
                read.extend(text(all(&mut reader), Stream::Stdout));
            }
        }
        log.close();
        read.extend(text(all(&mut reader), Stream::Stdout));
        let wanted: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(String::from_utf8(read).unwrap(), wanted);
        let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size(FILE) <= 4096 && size(OLDER) <= 4096);
        // Who comes late has the last of it, without a gap.
        let late = String::from_utf8(text(all(&mut Reader::open(dir.path())), Stream::Stdout)).unwrap();
        assert!(wanted.ends_with(&late) && late.len() > 100);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("not yet");
        let log = Log::open(&gone);
        let mut out = log.stream(Stream::Stdout);
        out.write_all(b"lost\n").unwrap();
        std::fs::create_dir(&gone).unwrap();
        out.write_all(b"kept\n").unwrap();
        log.close();
        let records = all(&mut Reader::open(&gone));
        assert!(records[0].stream == Stream::Lunette && records[0].log.as_ref().unwrap().contains("lost"));
        assert_eq!(text(records, Stream::Stdout), b"kept\n");
    }

    #[test]
    fn a_record_that_was_cut_off_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let record = r#"{"time":"t","stream":"stdout","log":"a\n"}"#;
        std::fs::write(dir.path().join(OLDER), format!("{record}\n{{\"time\":\"t\",\"str")).unwrap();
        std::fs::write(dir.path().join(FILE), format!("nonsense\n{record}\n{{\"ti")).unwrap();
        assert_eq!(text(all(&mut Reader::open(dir.path())), Stream::Stdout), b"a\na\n");
    }
}
