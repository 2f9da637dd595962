//! The smallest `-m` with which hello still prints its line, in the smallest image that runs it.

use std::{fs, process::Stdio};

use super::{Figure, vm::Bench};
use crate::{
    image,
    sh::{Result, command, root, show},
};

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let expected = fs::read(root().join("samples/hello-rust/expected.txt"))?;
    let image = image::build(image::WASM)?.path;
    let boots = |mib: u32| -> Result<bool> {
        // Too little memory must be said at once, but is measured even if it hangs.
        let mut run = command("timeout", &["10"]);
        run.arg(&bench.cli).args(["run", "--accel", "tcg", "-m", &format!("{mib}M")]).arg(&bench.hello);
        run.env("LUNETTE_IMAGE", &image).stdin(Stdio::null());
        let output = run.output().map_err(|e| format!("{}: {e}", show(&run)))?;
        Ok(output.status.success() && output.stdout == expected)
    };
    let mut least = None;
    for mib in (1..=16).rev() {
        if !boots(mib)? {
            break;
        }
        least = Some(mib);
    }
    let least = least.ok_or("hello does not boot with 16 MiB")?;
    Ok(vec![Figure::new("ram.hello", f64::from(least), "MiB").at_most(12.0)])
}
