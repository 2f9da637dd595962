//! The interpreter: bytecode, stepped.

use std::{pin::Pin, sync::Arc};

use lunette_bundle::{GuestPlan, HELP};
use lunette_hostcalls::{
    Clock, CodeFrame, Ctx, Ending, Guest, Stdio, Step,
    task::{self, Timers},
};
use lunette_wasm::{Instance, Limits, Problem};

use super::Program;
use crate::{Maker, Refusal, nanos};

struct Interpreted {
    guest: Instance,
    clock: Arc<dyn Clock>,
    stdio: Arc<dyn Stdio>,
    timers: Arc<Timers>,
}

/// Makes a guest of a module.
pub(crate) fn start(
    maker: &Maker<'_>,
    plan: &GuestPlan,
    module: &[u8],
    ctx: Ctx,
) -> Result<Box<dyn Program>, Refusal> {
    let services = maker.services;
    let limits = Limits {
        memory: maker.memory(plan),
        table_elements: plan.tables,
        time: plan.timeout.map(nanos),
        fuel: plan.fuel,
        slices: maker.several,
    };
    let (clock, stdio, timers) = (ctx.clock.clone(), ctx.stdio.clone(), maker.timers.clone());
    match lunette_wasm::start(module, ctx, limits) {
        Ok(guest) => Ok(Box::new(Interpreted { guest, clock, stdio, timers })),
        Err(problem) => {
            let more = plan.memory.is_none_or(|memory| memory > services.memory);
            let help = match problem {
                Problem::Memory { needs, .. } if more && needs <= services.memory => {
                    "give the VM more memory (-m), or say how much each guest may have: `memory` in its [resources]"
                        .into()
                }
                // The manifest allows more than there is: only a larger VM helps.
                Problem::Memory { .. } if more => {
                    "give the VM more memory (-m), or link the module with a smaller initial memory or stack"
                        .into()
                }
                _ => problem.help(),
            };
            Err(Refusal(format!("{}: {problem}{HELP}{help}", plan.main)))
        }
    }
}

impl Program for Interpreted {
    fn run(&mut self) -> Pin<Box<dyn Future<Output = Ending> + '_>> {
        Box::pin(async {
            loop {
                match self.guest.step() {
                    Step::Wait(wait) => task::ready(&wait, &*self.clock, &*self.stdio, &self.timers).await,
                    Step::Ended(ending) => return ending,
                }
            }
        })
    }

    fn stopped_in(&self) -> Option<&[CodeFrame]> {
        Some(self.guest.backtrace())
    }

    /// The interpreter knows names, and nothing else.
    fn note(&self, backtrace: &[CodeFrame]) -> Option<&'static str> {
        let words = "note: for files and lines, build it with debug information and run it with --aot";
        (!backtrace.is_empty()).then_some(words)
    }
}
