//! The verbs other than `run`, one file each.

pub mod build;
pub mod check;
pub mod doctor;
pub mod end;
pub mod images;
pub mod inspect;
pub mod logs;
pub mod new;
pub mod own;
pub mod ps;
pub mod sign;

use std::io::Write;

use crate::problem::Problem;

/// Prints a value as JSON.
fn print_json(value: &serde_json::Value) -> Result<(), Problem> {
    print(&format!("{value:#}\n"))
}

/// Prints to standard output; a closed one is no reason to shout.
pub fn print(text: &str) -> Result<(), Problem> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::new(
            format!("standard output can't be written: {e}"),
            "make room, or print elsewhere",
        )),
        _ => Ok(()),
    }
}
