//! The VM's streams: threads that carry them between its pipes and ours.

use std::{
    fs,
    io::{self, Read, Write},
    process::Child,
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
    thread::JoinHandle,
};

use super::{Event, Streams};
use crate::console::{self, Copied, Tail};

pub(super) struct Pumps {
    output: Vec<JoinHandle<()>>,
    complaints: Option<JoinHandle<String>>,
}

impl Pumps {
    pub(super) fn finish(self) -> String {
        for pump in self.output {
            let _ = pump.join();
        }
        self.complaints.and_then(|pump| pump.join().ok()).unwrap_or_default()
    }
}

pub(super) fn start_pumps(
    child: &mut Child,
    stderr: fs::File,
    streams: Streams,
    events: &Sender<Event>,
    tail: &Arc<Mutex<Tail>>,
) -> Pumps {
    let (to_out, to_err): (Box<dyn Write + Send>, Box<dyn Write + Send>) = match streams {
        Streams::None => (Box::new(io::sink()), Box::new(io::sink())),
        Streams::Ours => (Box::new(Raw(io::stdout())), Box::new(Raw(io::stderr()))),
        Streams::To { out, err } => (out, err),
    };
    let output = |mut from: Box<dyn Read + Send>, mut to: Box<dyn Write + Send>, out: bool| {
        let (events, tail) = (events.clone(), tail.clone());
        std::thread::spawn(move || {
            let seen = |bytes: &[u8]| tail.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
            let copied = console::pump_output(&mut from, &mut to, seen);
            // A closed standard output ends the run, as it ends other programs; a closed standard error
            // does not, but the VM must not wait for us.
            if copied == Copied::Broken {
                if out {
                    let _ = events.send(Event::Unheard);
                }
                let _ = io::copy(&mut from, &mut io::sink());
            }
        })
    };
    let mut pumps = Pumps { output: vec![output(Box::new(stderr), to_err, false)], complaints: None };
    if let Some(stdout) = child.stdout.take() {
        pumps.output.push(output(Box::new(stdout), to_out, true));
    }
    pumps.complaints = child.stderr.take().map(|mut from| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = from.by_ref().take(64 * 1024).read_to_end(&mut text);
            let _ = io::copy(&mut from, &mut io::sink());
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    pumps
}

/// The input's pump is not waited for: it may hang on a read, or on a VM that doesn't listen, for ever, and ends
/// with the process.
pub(super) fn start_input(mut to: fs::File, streams: bool) {
    std::thread::spawn(move || {
        let mut from: Box<dyn Read> =
            if streams { Box::new(io::stdin().lock()) } else { Box::new(io::empty()) };
        // An error means that the VM is gone.
        let _ = console::pump_input(&mut from, &mut to);
    });
}

/// The way of new versions of the app into the VM, whose input has ended.
pub(super) fn start_versions(mut to: fs::File) -> Box<dyn FnMut(Vec<u8>) -> bool + Send> {
    // An error means that the VM is gone.
    let _ = to.write_all(&console::END);
    Box::new(move |payload| console::send_version(&payload, &mut to).is_ok())
}

/// A standard stream without its buffer: what was taken is out.
struct Raw<T>(T);

impl<T: std::os::fd::AsFd> Write for Raw<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0.as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
