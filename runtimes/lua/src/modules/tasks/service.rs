//! `service`: what the script was started with, and how it is stopped and replaced.

use std::rc::Rc;

use mlua::{Function, Lua, Value};

use crate::world::World;

/// Functions that are called when new code takes over, at most.
const MAX_ON_RELOAD: usize = 100;

pub(super) fn make(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    let service = lua.create_table()?;
    let config = lua.create_table()?;
    config.set("name", world.ctx.name.as_str())?;
    config.set("args", world.ctx.args.iter().skip(1).map(String::as_str).collect::<Vec<_>>())?;
    config.set("env", lua.create_table_from(world.ctx.env.iter().map(|(k, v)| (k.as_str(), v.as_str())))?)?;
    let listen = world.ctx.listeners.iter().map(|listening| listening.name.as_str());
    config.set("listen", listen.collect::<Vec<_>>())?;
    service.set("config", config)?;
    service.set("limits", {
        let world = world.clone();
        lua.create_function(move |lua, ()| {
            let limits = lua.create_table()?;
            limits.set("memory", world.limits.memory)?;
            limits.set("memory_used", lua.used_memory())?;
            limits.set("time", world.limits.time.map(|nanos| nanos as f64 / 1e9))?;
            limits.set("fuel", world.limits.fuel)?;
            limits.set("fuel_used", world.usage.fuel.get())?;
            limits.set("tasks", world.limits.tasks())?;
            limits.set("tasks_used", world.usage.tasks.get())?;
            limits.set("timers", world.limits.timers())?;
            limits.set("timers_used", world.usage.timers.get())?;
            Ok(limits)
        })?
    })?;
    service.set("stop", {
        let world = world.clone();
        lua.create_function(move |_, ()| {
            world.stop();
            Ok(())
        })?
    })?;
    service.set("on_reload", {
        let world = world.clone();
        lua.create_function(move |_, function: Function| {
            let mut functions = world.on_reload.borrow_mut();
            if functions.len() >= MAX_ON_RELOAD {
                return Err(mlua::Error::runtime("service.on_reload: too many functions"));
            }
            functions.push(function);
            Ok(())
        })?
    })?;
    Ok(Value::Table(service))
}
