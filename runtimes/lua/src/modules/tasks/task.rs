//! `task`: tasks of the script's own, and what they wait for.

use std::{rc::Rc, time::Duration};

use lunette_hostcalls::task::give_way;
use mlua::{AnyUserData, Function, IntoLuaMulti, Lua, MultiValue, Table, UserData, UserDataMethods, Value};

use super::{channel, timer};
use crate::{
    errors::failure,
    methods::Methods as _,
    options,
    tasks::{self, End, Handle, Task},
    world::World,
};

pub(super) fn make(lua: &Lua, _: &Rc<World>) -> mlua::Result<Value> {
    let task = lua.create_table()?;
    task.set(
        "spawn",
        lua.create_function(|lua, (function, args): (Function, MultiValue)| {
            tasks::spawn(lua, function, args)
        })?,
    )?;
    task.set("self", lua.create_function(|lua, ()| current(lua)?.handle(lua))?)?;
    task.set(
        "sleep",
        lua.create_async_function(|lua, seconds: f64| async move {
            let duration = seconds_of("task.sleep", seconds)?;
            if duration.is_zero() {
                give_way().await;
            } else {
                let sleep = World::of(&lua).time.sleep(duration);
                sleep.await;
            }
            Ok(())
        })?,
    )?;
    task.set(
        "yield",
        lua.create_async_function(|_, ()| async {
            give_way().await;
            Ok(())
        })?,
    )?;
    task.set("after", lua.create_function(timer::after)?)?;
    task.set("every", lua.create_function(timer::every)?)?;
    task.set("channel", lua.create_function(channel::make)?)?;
    task.set("timeout", lua.create_async_function(timeout)?)?;
    task.set("all", lua.create_async_function(all)?)?;
    task.set("race", lua.create_async_function(race)?)?;
    Ok(Value::Table(task))
}

fn current(lua: &Lua) -> mlua::Result<Rc<Task>> {
    let current = World::of(lua).current.borrow().clone();
    current.ok_or_else(|| mlua::Error::runtime("there is no task"))
}

fn seconds_of(call: &str, seconds: f64) -> mlua::Result<Duration> {
    options::duration(seconds)
        .ok_or_else(|| mlua::Error::runtime(format!("{call}: a time of {seconds}: it is a time in seconds")))
}

/// `task.timeout(s, f, ...)`: `f` is a part of the task that calls, so what it opens stays open.
async fn timeout(
    lua: Lua,
    (seconds, function, mut args): (f64, Function, MultiValue),
) -> mlua::Result<MultiValue> {
    let limit = seconds_of("task.timeout", seconds)?;
    let world = World::of(&lua);
    let entry = world.entry.borrow().clone().expect("set when the state was made");
    args.push_front(Value::Function(function));
    match world.time.timeout(limit, entry.call_async(args)).await {
        Some(results) => results,
        None => failed(&lua, "timeout"),
    }
}

fn failed(lua: &Lua, words: &str) -> mlua::Result<MultiValue> {
    failure(words).into_lua_multi(lua)
}

/// What a task returned that has ended well.
fn results(handle: &AnyUserData) -> mlua::Result<Vec<Value>> {
    match handle.user_value()? {
        Value::Table(table) => (1..=table.raw_get("n")?).map(|i: i64| table.raw_get(i)).collect(),
        _ => Ok(Vec::new()),
    }
}

/// Tasks that are a part of another's call: they are cancelled with it.
struct Parts(Vec<(Rc<Task>, AnyUserData)>);

impl Parts {
    fn spawn(lua: &Lua, call: &str, functions: &Table) -> mlua::Result<Self> {
        let owner = current(lua)?;
        let mut parts = Self(Vec::new());
        for (i, function) in functions.sequence_values::<Value>().enumerate() {
            let Value::Function(function) = function? else {
                return Err(mlua::Error::runtime(format!("{call}: no. {} is no function", i + 1)));
            };
            parts.0.push(tasks::spawn_for(lua, Some(owner.clone()), function, MultiValue::new())?);
        }
        Ok(parts)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.0.iter().for_each(|(task, _)| task.cancel());
    }
}

/// `task.all{f, ...}`: a list of what each returned first; or `nil` and the first error, and the others are cancelled.
async fn all(lua: Lua, functions: Table) -> mlua::Result<MultiValue> {
    let parts = Parts::spawn(&lua, "task.all", &functions)?;
    let mut joins: Vec<_> = parts.0.iter().map(|(task, _)| Some(task.join())).collect();
    let mut first = 0;
    let failure = std::future::poll_fn(|cx| {
        // Each wakes us once: what has ended is behind us, but for those that overtook.
        while let Some(join) = joins.get_mut(first) {
            match join.as_mut().map(|join| std::pin::Pin::new(join).poll(cx)) {
                Some(std::task::Poll::Pending) => break,
                Some(std::task::Poll::Ready(End::Failed(failure))) => {
                    return std::task::Poll::Ready(Some(failure));
                }
                _ => first += 1,
            }
        }
        if first == joins.len() {
            return std::task::Poll::Ready(None);
        }
        for join in &mut joins[first..] {
            match join.as_mut().map(|join| std::pin::Pin::new(join).poll(cx)) {
                Some(std::task::Poll::Ready(End::Failed(failure))) => {
                    return std::task::Poll::Ready(Some(failure));
                }
                Some(std::task::Poll::Ready(End::Returned)) => *join = None,
                _ => {}
            }
        }
        std::task::Poll::Pending
    })
    .await;
    if let Some(failure) = failure {
        return failed(&lua, &failure.message);
    }
    let list = lua.create_table_with_capacity(parts.0.len(), 1)?;
    for (i, (_, handle)) in parts.0.iter().enumerate() {
        list.raw_set(i + 1, results(handle)?.into_iter().next())?;
    }
    list.raw_set("n", parts.0.len())?;
    Ok(MultiValue::from_iter([Value::Table(list)]))
}

/// `task.race{f, ...}`: what the first returned that ends; or `nil` and its error. The others are cancelled.
async fn race(lua: Lua, functions: Table) -> mlua::Result<MultiValue> {
    let parts = Parts::spawn(&lua, "task.race", &functions)?;
    if parts.0.is_empty() {
        return Err(mlua::Error::runtime("task.race: there is nobody to win"));
    }
    let mut joins: Vec<_> = parts.0.iter().map(|(task, _)| task.join()).collect();
    let (winner, end) = std::future::poll_fn(|cx| {
        for (i, join) in joins.iter_mut().enumerate() {
            if let std::task::Poll::Ready(end) = std::pin::Pin::new(join).poll(cx) {
                return std::task::Poll::Ready((i, end));
            }
        }
        std::task::Poll::Pending
    })
    .await;
    match end {
        End::Returned => Ok(MultiValue::from_vec(results(&parts.0[winner].1)?)),
        End::Failed(failure) => failed(&lua, &failure.message),
    }
}

impl UserData for Handle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_function("join", |lua, (handle, seconds): (AnyUserData, Option<f64>)| async move {
            let limit = seconds.map(|seconds| seconds_of("join", seconds)).transpose()?;
            let task = handle.borrow::<Self>()?.0.clone();
            if Rc::ptr_eq(&task, &current(&lua)?) {
                return Err(mlua::Error::runtime("join: a task can't wait for itself"));
            }
            let end = match limit {
                None => Some(task.join().await),
                Some(limit) => World::of(&lua).time.timeout(limit, task.join()).await,
            };
            match end {
                None => failed(&lua, "timeout"),
                Some(End::Failed(failure)) => failed(&lua, &failure.message),
                Some(End::Returned) => {
                    let mut values = MultiValue::from_vec(results(&handle)?);
                    values.push_front(Value::Boolean(true));
                    Ok(values)
                }
            }
        });
        methods.method("cancel", |_, this, ()| {
            this.0.cancel();
            Ok(())
        });
        methods.method("status", |_, this, ()| {
            Ok(match this.0.end() {
                None => "running",
                Some(End::Returned) => "done",
                Some(End::Failed(_)) => "failed",
            })
        });
    }
}
