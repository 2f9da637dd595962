//! `lunette logs`: what a VM in the background said.

use std::{
    collections::VecDeque,
    io::{self, Write},
    time::Duration,
};

use crate::{
    background::{
        log::{Reader, Record, Stream},
        store::Store,
    },
    cli::Logs,
    problem::Problem,
};

/// How often a log is looked at that is followed.
const TICK: Duration = Duration::from_millis(100);

/// Prints it: what went to standard error goes to ours.
pub fn logs(args: &Logs) -> Result<u8, Problem> {
    let entry = Store::of_user()?.find(&args.name)?;
    let mut reader = Reader::open(&entry.folder);
    let printed = (|| -> io::Result<()> {
        match args.tail {
            None => reader.read(|record| print(record, args))?,
            Some(count) => {
                let mut last = Tail { records: VecDeque::new(), ends: 0, count };
                reader.read(|record| {
                    last.add(record);
                    Ok(())
                })?;
                last.records.into_iter().try_for_each(|(record, _)| print(record, args))?;
            }
        }
        if !args.follow {
            return Ok(());
        }
        // Its supervisor's end is asked for before its last words are read.
        let held = entry.owner().and_then(|owner| owner.hold());
        loop {
            let over = held.as_ref().is_none_or(|held| held.ended(Some(TICK)));
            reader.read(|record| print(record, args))?;
            if over {
                return Ok(());
            }
        }
    })();
    match printed {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Problem::new(
            format!("the log can't be shown: {e}"),
            "see that you may read it, and make room",
        )
        .at(entry.folder.display())),
        _ => Ok(0),
    }
}

/// The last lines; a line may be in several records.
struct Tail {
    /// And whether its line ends with it.
    records: VecDeque<(Record, bool)>,
    ends: usize,
    count: usize,
}

impl Tail {
    fn add(&mut self, record: Record) {
        let ends = record.ends_line();
        self.ends += usize::from(ends);
        self.records.push_back((record, ends));
        // One that has not ended is a line too.
        let begun = usize::from(!ends);
        while self.ends + begun > self.count {
            let Some((_, ended)) = self.records.pop_front() else { break };
            self.ends -= usize::from(ended);
        }
    }
}

fn print(record: Record, args: &Logs) -> io::Result<()> {
    if args.format.json() {
        let mut line = serde_json::to_vec(&record)?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        return out.write_all(&line).and_then(|()| out.flush());
    }
    let stream = record.stream;
    let mut bytes = if args.timestamps { format!("{} ", record.time).into_bytes() } else { Vec::new() };
    bytes.extend(record.bytes());
    if stream == Stream::Stdout {
        let mut out = io::stdout().lock();
        out.write_all(&bytes).and_then(|()| out.flush())
    } else {
        io::stderr().lock().write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        let record = |log: &str| -> Record {
            let text = serde_json::json!({ "time": "t", "stream": "stdout", "log": log }).to_string();
            serde_json::from_str(&text).unwrap()
        };
        let tail = |count, logs: &[&str]| {
            let mut tail = Tail { records: VecDeque::new(), ends: 0, count };
            logs.iter().for_each(|log| tail.add(record(log)));
            String::from_utf8(tail.records.into_iter().flat_map(|(r, _)| r.bytes()).collect()).unwrap()
        };
        let logs = ["one\n", "t", "wo\n", "three\n", "fo"];
        assert_eq!(tail(1, &logs), "fo");
        assert_eq!(tail(2, &logs), "three\nfo");
        assert_eq!(tail(3, &logs), "two\nthree\nfo");
        assert_eq!(tail(9, &logs), "one\ntwo\nthree\nfo");
        assert_eq!(tail(1, &logs[..4]), "three\n");
        assert_eq!(tail(0, &logs), "");
    }
}
