//! Guests as tasks, until the app ends.

use std::{fmt::Write, ops::ControlFlow, sync::Arc};

use lunette_hostcalls::{
    Clock, CodeFrame, Ending, Limit, Log, Nanos, Net, Stdio, Stream,
    farewell::Farewell,
    task::{Executor, Host, Timers},
};

use crate::runtime::Program;

/// Guests that run.
pub struct App {
    /// The app first. `None`: it has ended, and what it had open is closed.
    pub(crate) guests: Vec<Option<Runner>>,
    pub(crate) net: Option<Arc<dyn Net>>,
    pub(crate) clock: Arc<dyn Clock>,
    /// What the guests wait on, also those that wait by themselves.
    pub(crate) timers: Arc<Timers>,
    pub(crate) log: Arc<dyn Log>,
}

/// A guest that runs, and where its last words go.
pub(crate) struct Runner {
    pub(crate) guest: Box<dyn Program>,
    pub(crate) name: String,
    pub(crate) stdio: Arc<dyn Stdio>,
    /// Has it listeners, so that it may finish when the host is being stopped?
    pub(crate) listens: bool,
}

/// Runs the app to its end, or until `host` breaks. A trap's words, and where a guest was when it was stopped, go to its
/// standard error.
///
/// Asked to stop ([`Host::stopping`]), the listeners are closed and the guests that had any may finish what they do;
/// all others are stopped at once.
pub fn run(mut app: App, host: &mut dyn Host) -> Farewell {
    let mut watch = Watch { host, asked: false };
    let farewell = app.go_on(&mut watch).or_else(|| {
        if !watch.asked {
            return None;
        }
        app.drain().then(|| app.go_on(&mut watch)).flatten()
    });
    let network = app.net.take();
    drop(app);
    if network.is_some() {
        // What the guests wrote last, and the ends of their connections, are on their way.
        let _ = watch.host.park(false, None);
    }
    farewell.unwrap_or(Farewell::Stopped)
}

/// A host that breaks once, when it is asked to stop.
struct Watch<'h> {
    host: &'h mut dyn Host,
    asked: bool,
}

impl Host for Watch<'_> {
    fn park(&mut self, idle: bool, until: Option<Nanos>) -> ControlFlow<()> {
        self.host.park(idle, until)?;
        if !self.asked && self.host.stopping() {
            self.asked = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn begin_interruptible(&mut self) -> bool {
        self.host.begin_interruptible()
    }

    fn end_interruptible(&mut self) {
        self.host.end_interruptible();
    }
}

impl App {
    /// Runs until the app ends (`None`: until the host breaks).
    fn go_on(&mut self, host: &mut dyn Host) -> Option<Farewell> {
        let mut executor = Executor::new(self.timers.clone());
        let (clock, log) = (&*self.clock, &*self.log);
        for (i, place) in self.guests.iter_mut().enumerate().filter(|(_, place)| place.is_some()) {
            executor.spawn(async move {
                let runner = place.as_mut()?;
                let farewell = runner.drive().await;
                if i > 0 {
                    runner.tell_end(&farewell, log);
                }
                *place = None;
                (i == 0).then_some(farewell)
            });
        }
        while let Some(ended) = executor.next(clock, host) {
            if ended.is_some() {
                return ended;
            }
        }
        None
    }

    /// Closes the listeners, and ends all who can't finish by that. Is the app still there?
    fn drain(&mut self) -> bool {
        if let Some(net) = &self.net {
            net.close_listeners();
        }
        for place in &mut self.guests {
            if place.as_ref().is_some_and(|guest| !guest.listens) {
                *place = None;
            }
        }
        self.guests.first().is_some_and(Option::is_some)
    }
}

impl Runner {
    /// Runs the guest until it ends. Having been dropped in the middle, it can be begun again.
    async fn drive(&mut self) -> Farewell {
        let ending = self.guest.run().await;
        match ending {
            Ending::Exited(code) => Farewell::Exit(code),
            Ending::Trapped(trap) => {
                self.say(&format!("error: {} trapped: {}", self.name, trap.message), &trap.backtrace);
                Farewell::Trap
            }
            Ending::Stopped(limit) => {
                if let Some(backtrace) = self.guest.stopped_in() {
                    self.say(&format!("{} was stopped in:", self.name), backtrace);
                }
                match limit {
                    Limit::Time => Farewell::Timeout,
                    Limit::Fuel => Farewell::Fuel,
                }
            }
        }
    }

    /// For a guest without which the others go on.
    #[cold]
    fn tell_end(&self, farewell: &Farewell, log: &dyn Log) {
        let name = &self.name;
        match farewell {
            Farewell::Exit(code) => log.warn(format_args!("{name} ended with exit code {code}")),
            Farewell::Timeout => log.warn(format_args!("{name} was stopped: its time was up")),
            Farewell::Fuel => log.warn(format_args!("{name} was stopped: its fuel was used up")),
            _ => log.warn(format_args!("{name} trapped")),
        }
    }

    /// Last words on standard error, with where the guest was.
    fn say(&self, what: &str, backtrace: &[CodeFrame]) {
        let mut words = format!("{what}\n");
        for (i, frame) in backtrace.iter().enumerate() {
            let _ = writeln!(words, "  {i:2}: {frame}");
        }
        if let Some(note) = self.guest.note(backtrace) {
            let _ = writeln!(words, "{note}");
        }
        let mut rest = words.as_bytes();
        while !rest.is_empty() {
            match self.stdio.write(Stream::Err, rest) {
                Ok(n) if n > 0 => rest = &rest[n..],
                // Nobody listens, or not now: the farewell still tells what became of it.
                _ => return,
            }
        }
    }
}
