//! What the interpreter would say to a module, asked without running it.

use crate::problem::Problem;

/// Refuses a module that could not start.
pub fn check(bytes: &[u8]) -> Result<(), Problem> {
    let problem = |p: lunette_wasm::Problem| Problem::new(p.to_string(), p.help());
    lunette_wasm::examine(bytes).map_err(problem)?.check().map_err(problem)
}
