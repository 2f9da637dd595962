//! In the place of the interpreter, where it was left out.

use lunette_bundle::GuestPlan;
use lunette_hostcalls::Ctx;

use super::{Program, Runtime, lacks};
use crate::{Maker, Refusal};

/// Refuses it.
pub(crate) fn start(_: &Maker<'_>, plan: &GuestPlan, _: &[u8], _: Ctx) -> Result<Box<dyn Program>, Refusal> {
    Err(lacks(plan, "a module of bytecode, and this image has no interpreter", Runtime::Wasm))
}
