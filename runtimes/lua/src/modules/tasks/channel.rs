//! `task.channel`: values from task to task, in order.
//!
//! A channel with room for none (the default) hands a value over when somebody takes it. What is in it is the channel's,
//! in a table of its own: garbage when the channel is.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use mlua::{AnyUserData, IntoLuaMulti, Lua, MultiValue, Table, UserData, UserDataMethods, Value};

use crate::{errors::failure, methods::Methods as _, options, world::World};

#[derive(Default)]
struct Channel(Rc<Shared>);

#[derive(Default)]
struct Shared {
    room: usize,
    closed: Cell<bool>,
    /// The numbers of the first value that is there, and of the next one that comes.
    first: Cell<u64>,
    next: Cell<u64>,
    receivers: Waiters,
    senders: Waiters,
}

/// Who waits for a turn, in order.
#[derive(Default)]
struct Waiters(RefCell<VecDeque<Rc<Waiter>>>);

#[derive(Default)]
struct Waiter {
    waker: RefCell<Option<Waker>>,
    /// It is its turn.
    woken: Cell<bool>,
}

/// A place among those who wait; one that is left with its turn not taken is the next one's turn.
struct Place<'a> {
    waiters: &'a Waiters,
    waiter: Option<Rc<Waiter>>,
}

impl Waiters {
    fn place(&self) -> Place<'_> {
        Place { waiters: self, waiter: None }
    }

    fn wake_one(&self) {
        let waiter = self.0.borrow_mut().pop_front();
        waiter.into_iter().for_each(|waiter| waiter.wake());
    }

    fn wake_all(&self) {
        let waiters = self.0.take();
        waiters.into_iter().for_each(|waiter| waiter.wake());
    }
}

impl Waiter {
    fn wake(&self) {
        self.woken.set(true);
        let waker = self.waker.take();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Place<'_> {
    fn wait(&mut self, cx: &Context<'_>) {
        let queued = self.waiter.as_ref().is_some_and(|waiter| !waiter.woken.get());
        if !queued {
            let waiter = Rc::new(Waiter::default());
            self.waiters.0.borrow_mut().push_back(waiter.clone());
            self.waiter = Some(waiter);
        }
        if let Some(waiter) = &self.waiter {
            waiter.waker.replace(Some(cx.waker().clone()));
        }
    }

    fn taken(mut self) {
        self.leave();
    }

    /// Was it its turn?
    fn leave(&mut self) -> bool {
        let Some(waiter) = self.waiter.take() else { return false };
        if !waiter.woken.get() {
            self.waiters.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, &waiter));
        }
        waiter.woken.get()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.leave() {
            self.waiters.wake_one();
        }
    }
}

impl Shared {
    fn len(&self) -> u64 {
        self.next.get() - self.first.get()
    }

    async fn send(&self, values: &Table, value: Value) -> mlua::Result<bool> {
        let mut place = self.senders.place();
        let room = self.room.max(1) as u64;
        poll_fn(|cx| {
            if self.closed.get() || self.len() < room {
                return Poll::Ready(());
            }
            place.wait(cx);
            Poll::Pending
        })
        .await;
        if self.closed.get() {
            return Ok(false);
        }
        place.taken();
        let number = self.next.get();
        values.raw_set(number, value)?;
        self.next.set(number + 1);
        self.receivers.wake_one();
        if self.len() < room {
            self.senders.wake_one();
        }
        if self.room > 0 {
            return Ok(true);
        }
        // Until it is taken; taken back, if it is not.
        let mut offer = Offer { channel: self, values, number, place: self.senders.place() };
        poll_fn(|cx| {
            if self.closed.get() || self.first.get() > number {
                return Poll::Ready(());
            }
            offer.place.wait(cx);
            Poll::Pending
        })
        .await;
        Ok(self.first.get() > number)
    }

    async fn receive(&self, values: &Table) -> mlua::Result<Option<Value>> {
        let mut place = self.receivers.place();
        poll_fn(|cx| {
            if self.closed.get() || self.len() > 0 {
                return Poll::Ready(());
            }
            place.wait(cx);
            Poll::Pending
        })
        .await;
        if self.len() == 0 {
            return Ok(None);
        }
        place.taken();
        let number = self.first.get();
        let value = values.raw_get(number)?;
        values.raw_set(number, Value::Nil)?;
        self.first.set(number + 1);
        if self.room == 0 {
            // The one that offered it, and the next.
            self.senders.wake_all();
        } else {
            self.senders.wake_one();
        }
        if self.len() > 0 {
            self.receivers.wake_one();
        }
        Ok(Some(value))
    }
}

/// A value that is there to be taken over, and nobody has.
struct Offer<'a> {
    channel: &'a Shared,
    values: &'a Table,
    number: u64,
    place: Place<'a>,
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        let channel = self.channel;
        if channel.first.get() == self.number && channel.next.get() == self.number + 1 {
            channel.next.set(self.number);
            // In the way of nothing, if it stays.
            let _ = self.values.raw_set(self.number, Value::Nil);
        }
    }
}

/// `task.channel([room])`
pub(super) fn make(lua: &Lua, room: Option<i64>) -> mlua::Result<AnyUserData> {
    let Ok(room) = usize::try_from(room.unwrap_or(0)) else {
        return Err(mlua::Error::runtime("task.channel: its room can't be less than 0"));
    };
    let channel = lua.create_userdata(Channel(Rc::new(Shared { room, ..Shared::default() })))?;
    channel.set_user_value(lua.create_table()?)?;
    Ok(channel)
}

/// `None`: it took longer.
async fn within<T>(
    world: &World,
    call: &str,
    seconds: Option<f64>,
    future: impl Future<Output = mlua::Result<T>>,
) -> mlua::Result<Option<T>> {
    match seconds.map(|seconds| options::duration(seconds).ok_or(seconds)) {
        None => future.await.map(Some),
        Some(Ok(limit)) => world.time.timeout(limit, future).await.transpose(),
        Some(Err(seconds)) => {
            Err(mlua::Error::runtime(format!("{call}: a timeout of {seconds}: it is a time in seconds")))
        }
    }
}

fn parts(channel: &AnyUserData) -> mlua::Result<(Rc<Shared>, Table)> {
    Ok((channel.borrow::<Channel>()?.0.clone(), channel.user_value()?))
}

impl UserData for Channel {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_function(
            "send",
            |lua, (channel, value, timeout): (AnyUserData, Value, Option<f64>)| async move {
                let (shared, values) = parts(&channel)?;
                let sent = within(&World::of(&lua), "send", timeout, shared.send(&values, value)).await?;
                match sent {
                    Some(true) => Ok(MultiValue::from_iter([Value::Boolean(true)])),
                    Some(false) => failure("closed").into_lua_multi(&lua),
                    None => failure("timeout").into_lua_multi(&lua),
                }
            },
        );
        methods.add_async_function(
            "recv",
            |lua, (channel, timeout): (AnyUserData, Option<f64>)| async move {
                let (shared, values) = parts(&channel)?;
                let got = within(&World::of(&lua), "recv", timeout, shared.receive(&values)).await?;
                match got {
                    Some(Some(value)) => Ok(MultiValue::from_iter([value])),
                    Some(None) => failure("closed").into_lua_multi(&lua),
                    None => failure("timeout").into_lua_multi(&lua),
                }
            },
        );
        methods.method("close", |_, this, ()| {
            this.0.closed.set(true);
            this.0.receivers.wake_all();
            this.0.senders.wake_all();
            Ok(())
        });
        methods.add_meta_method("__len", |_, this, ()| Ok(this.0.len()));
    }
}
