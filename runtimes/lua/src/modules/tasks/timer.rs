//! `task.after`, `task.every`: functions that are called when it is time, as tasks.
//!
//! A timer holds the service as a task does, until it is being stopped. One that comes round while its function still
//! runs is left out.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use mlua::{AnyUserData, Function, Lua, MultiValue, UserData, UserDataMethods};

use crate::{methods::Methods as _, options, tasks, world::World};

/// The script's object for it.
struct Timer(Rc<Shared>);

#[derive(Default)]
struct Shared {
    cancelled: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl UserData for Timer {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.method("cancel", |_, this, ()| {
            this.0.cancelled.set(true);
            let waker = this.0.waker.take();
            waker.into_iter().for_each(Waker::wake);
            Ok(())
        });
    }
}

/// Counts a timer while it is there.
struct Counted(Rc<World>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.usage.timers.update(|n| n - 1);
    }
}

pub(super) fn after(
    lua: &Lua,
    (seconds, function, args): (f64, Function, MultiValue),
) -> mlua::Result<AnyUserData> {
    start(lua, "task.after", seconds, false, function, args)
}

pub(super) fn every(
    lua: &Lua,
    (seconds, function, args): (f64, Function, MultiValue),
) -> mlua::Result<AnyUserData> {
    start(lua, "task.every", seconds, true, function, args)
}

fn start(
    lua: &Lua,
    call: &str,
    seconds: f64,
    again: bool,
    function: Function,
    args: MultiValue,
) -> mlua::Result<AnyUserData> {
    let period = options::duration(seconds).filter(|period| !again || *period >= Duration::from_millis(1));
    let Some(period) = period else {
        let least = if again { "at least a millisecond" } else { "in seconds" };
        return Err(mlua::Error::runtime(format!("{call}: a time of {seconds}: it is to be {least}")));
    };
    let world = World::of(lua);
    if world.usage.timers.get() >= world.limits.timers() {
        let there = world.usage.timers.get();
        return Err(mlua::Error::runtime(format!("{call}: too many timers: there are {there}")));
    }
    world.usage.timers.update(|n| n + 1);
    let counted = Counted(world.clone());
    let shared = Rc::new(Shared::default());
    world.spawner.clone().spawn({
        let shared = shared.clone();
        async move {
            let world = &counted.0;
            let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
            let mut due = world.time.now().saturating_add(nanos);
            while shared.wait(world, due).await {
                if let Err(error) = tasks::call(world.clone(), function.clone(), args.clone()).await {
                    tasks::tell(world, "timer", &error);
                }
                if !again {
                    break;
                }
                let now = world.time.now();
                due = due.saturating_add(nanos);
                if due <= now {
                    due = now.saturating_add(nanos);
                }
            }
        }
    });
    lua.create_userdata(Timer(shared))
}

impl Shared {
    /// `false`: it was cancelled, or the service is being stopped.
    async fn wait(&self, world: &Rc<World>, due: u64) -> bool {
        let (mut sleep, mut stopped) = (pin!(world.time.sleep_until(due)), pin!(world.stopped()));
        poll_fn(|cx| {
            if self.cancelled.get() || stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            self.waker.replace(Some(cx.waker().clone()));
            sleep.as_mut().poll(cx).map(|()| true)
        })
        .await
    }
}
