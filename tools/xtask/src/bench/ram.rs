//! The smallest `-m` with which hello still prints its line.

use std::{fs, time::Duration};

use super::{Figure, vm::Bench};
use crate::sh::{Result, root};

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let expected = fs::read(root().join("samples/hello-rust/expected.txt"))?;
    let mut words = bench.words("microvm", &bench.hello)?;
    let mut least = None;
    for mib in (1..=16).rev() {
        words.set("-m", |_| format!("{mib}M"))?;
        // Too little memory must be said at once, but is measured even if it hangs.
        match words.start()?.output(Duration::from_secs(10))? {
            Some(out) if out == expected => least = Some(mib),
            _ => break,
        }
    }
    let least = least.ok_or("hello does not boot with 16 MiB")?;
    Ok(vec![Figure::new("ram.hello", f64::from(least), "MiB").limit(8.0)])
}
