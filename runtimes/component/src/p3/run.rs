//! Running a command of 0.3: its export `wasi:cli/run` is an async function, and has tasks of its own.
//!
//! Does not: instantiate, keep time (a deadline drops the future, and the store with it), or say what an error means
//! (`lunette_native::trap` does).

use std::future::poll_fn;

use wasmtime::{
    Result, Store,
    component::{Instance, InstancePre},
};

use super::bindings::P3Indices;
use crate::State;

/// The export, where a component has it.
#[derive(Clone)]
pub(crate) struct Run(P3Indices);

impl Run {
    /// The error: it has none of this release, or one of another type.
    pub(crate) fn of(component: &InstancePre<State>) -> Result<Self> {
        Ok(Self(P3Indices::new(component)?))
    }

    /// Runs until it has returned and every task that it began has ended: it may have returned early, to do the rest
    /// behind.
    pub(crate) async fn call(&self, store: &mut Store<State>, instance: &Instance) -> Result<Result<(), ()>> {
        let command = self.0.load(&mut *store, instance)?;
        let run = async |accessor: &_| {
            let answer = command.wasi_cli_run().call_run(accessor).await?;
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Result::Ok(answer)
        };
        store.run_concurrent(run).await?
    }
}
