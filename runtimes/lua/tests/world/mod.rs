//! Scripts in the fake world: what they print, how they end, with peers on a network in memory.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use lunette_hostcalls::{
    Clock, Ctx, Ending, Grants, Listening, Nanos, Net,
    fake::{FakeClock, FakeHost, FakeWorld},
    ramfs::MountId,
    task::{Executor, Host, Time, Timers},
};
use lunette_lua::{Limits, Problem};

/// A world with one script in it.
pub(crate) struct Stage {
    pub(crate) world: FakeWorld,
    pub(crate) limits: Limits,
    pub(crate) args: Vec<&'static str>,
    pub(crate) env: Vec<(&'static str, &'static str)>,
    /// What listens before the script starts, and what it is granted besides.
    pub(crate) listen: Vec<&'static str>,
    pub(crate) grants: Grants,
    pub(crate) timers: Arc<Timers>,
    /// How much time passes while the script runs and does not wait: none, unless it asks again and again for what
    /// only time can bring.
    pub(crate) pace: Nanos,
}

/// A run that takes so long will not end.
const PATIENCE: Duration = Duration::from_secs(40);

/// The host of the fake world, with a pace and an end.
struct Paced {
    host: FakeHost,
    clock: Arc<FakeClock>,
    pace: Nanos,
    begun: Instant,
}

impl Host for Paced {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        if self.begun.elapsed() > PATIENCE {
            return ControlFlow::Break(());
        }
        if !idle {
            self.clock.advance(self.pace);
        }
        self.host.park(idle, until)
    }

    fn begin_interruptible(&mut self) -> bool {
        self.host.begin_interruptible()
    }

    fn end_interruptible(&mut self) {
        self.host.end_interruptible();
    }

    fn stopping(&self) -> bool {
        self.host.stopping()
    }
}

/// What became of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Ran {
    pub(crate) ending: Ending,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) const LIMITS: Limits = Limits { memory: 64 << 20, time: None, fuel: None, bytecode: false };

impl Stage {
    pub(crate) fn new() -> Self {
        Self {
            world: FakeWorld::new(1),
            limits: LIMITS,
            args: vec!["test.lua"],
            env: Vec::new(),
            listen: Vec::new(),
            grants: Grants::default(),
            timers: Arc::default(),
            pace: 0,
        }
    }

    /// A file that the script finds at `/`-something.
    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let text: &'static [u8] = Vec::leak(text.as_bytes().to_vec());
        self.world.files.insert_file(MountId::ROOT, path.trim_start_matches('/'), text, 0).expect("a place");
        self
    }

    pub(crate) fn ctx(&self) -> Ctx {
        let mut ctx = self.world.ctx(&self.args, &self.env);
        let mut grants = self.grants.clone();
        for name in &self.listen {
            let grant: lunette_hostcalls::grants::Listen = name.parse().expect("what can be listened on");
            let socket = self.world.net.listen(grant.address(), 128).expect("a free port");
            ctx.listeners.push(Listening { name: (*name).into(), socket });
            grants.listen.push(grant);
        }
        ctx.network = self.world.network(grants);
        ctx
    }

    pub(crate) fn time(&self) -> Time {
        Time::new(self.world.clock.clone(), self.timers.clone())
    }

    /// Runs a script to its end.
    pub(crate) fn run(&self, text: &str) -> Ran {
        self.try_run(text).unwrap_or_else(|problem| panic!("{problem}"))
    }

    pub(crate) fn try_run(&self, text: &str) -> Result<Ran, Problem> {
        self.run_beside(text, |_| {})
    }

    /// Runs a script to its end, beside tasks of ours: peers, say. One that ends with `Some` ends the run.
    pub(crate) fn run_beside<'a>(
        &'a self,
        text: &str,
        peers: impl FnOnce(&mut Executor<'a, Option<Ending>>),
    ) -> Result<Ran, Problem> {
        let mut script =
            lunette_lua::start("test.lua", text.as_bytes(), self.ctx(), self.time(), self.limits)?;
        let mut executor = Executor::new(self.timers.clone());
        executor.spawn(async move { Some(script.run().await) });
        peers(&mut executor);
        let mut host = Paced {
            host: FakeHost::new(&self.world),
            clock: self.world.clock.clone(),
            pace: self.pace,
            begun: Instant::now(),
        };
        let ending = loop {
            match executor.next(&*self.world.clock, &mut host) {
                Some(Some(ending)) => break ending,
                Some(None) => {}
                None => panic!("it waits, or goes on, for ever; so far:\n{}", self.out()),
            }
        };
        Ok(Ran { ending, out: self.out(), err: self.err() })
    }

    fn out(&self) -> String {
        String::from_utf8_lossy(&self.world.stdio.stdout()).into_owned()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&self.world.stdio.stderr()).into_owned()
    }

    pub(crate) fn now(&self) -> Nanos {
        self.world.clock.monotonic()
    }
}

/// Runs a script that must end well, and gives what it printed.
#[track_caller]
pub(crate) fn prints(text: &str) -> String {
    let ran = Stage::new().run(text);
    assert_eq!(ran.ending, Ending::Exited(0), "{}\n{}", ran.out, ran.err);
    ran.out
}
