//! Is a person on the other side of the standard streams? For whichever WASI asks.
#![expect(unreachable_pub, reason = "bindings give names of their own to the types of resources")]

use wasmtime::{Result, component::Resource};

use crate::State;

/// A person is on the other side: there is no more to know about it.
pub struct Terminal;

impl State {
    pub(crate) fn terminal(&mut self) -> Result<Option<Resource<Terminal>>> {
        if !self.ctx.stdio.is_terminal() {
            return Ok(None);
        }
        Ok(Some(self.table.push(Terminal)?))
    }
}
