//! Scripts.

mod versions;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
};

use lunette_bundle::{GuestPlan, HELP, Plan};
use lunette_hostcalls::{CodeFrame, Ctx, Ending, task::Time};
use lunette_lua::{Instance, Limits};
use versions::Follower;

use super::Program;
use crate::{Maker, Refusal, nanos};

struct Script {
    guest: Instance,
    /// Of one of which new versions may come.
    follower: Option<Follower>,
}

/// Makes a guest of a script.
///
/// It never has more than two thirds of what there is: what its state counts is what it asked for, and a block of
/// the kernel's heap takes up to half as much again. A state that is refused memory has an error that the script can
/// catch; one that finds the heap empty takes the machine with it.
pub(crate) fn start(
    maker: &Maker<'_>,
    plan: &GuestPlan,
    text: &[u8],
    ctx: Ctx,
) -> Result<Box<dyn Program>, Refusal> {
    let services = maker.services;
    let limits = Limits {
        memory: maker.memory(plan).min(services.memory / 3 * 2),
        time: plan.timeout.map(nanos),
        fuel: plan.fuel,
        bytecode: plan.bytecode,
    };
    let time = Time::new(services.clock.clone(), maker.timers.clone());
    let follower = Follower::new(services, &plan.main, &ctx);
    let text = lunette_lua::without_first_line(text);
    match lunette_lua::start(&plan.main, text, ctx, time, limits) {
        Ok(guest) => Ok(Box::new(Script { guest, follower })),
        Err(problem) => Err(Refusal(format!("{problem}{HELP}{}", problem.help()))),
    }
}

impl Program for Script {
    fn run(&mut self) -> Pin<Box<dyn Future<Output = Ending> + '_>> {
        let Self { guest, follower } = self;
        let Some(follower) = follower else { return Box::pin(guest.run()) };
        Box::pin(async {
            let reloader = guest.reloader();
            let (mut run, mut follow) = (pin!(guest.run()), pin!(follower.follow(&reloader)));
            poll_fn(|cx| {
                let _ = follow.as_mut().poll(cx);
                run.as_mut().poll(cx)
            })
            .await
        })
    }

    /// A script's last words were its traceback.
    fn stopped_in(&self) -> Option<&[CodeFrame]> {
        None
    }

    fn talk(&mut self, plan: &Plan) -> Result<(), Refusal> {
        if !plan.watch {
            self.follower = None;
        }
        if plan.repl {
            self.guest.repl();
        }
        Ok(())
    }
}
