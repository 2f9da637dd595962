//! Methods of userdata in little code. mlua's own `add_method` takes 1.5 KB of the image for each method, for it inlines
//! every way in which a value can be held; a value of ours is held in one.
//!
//! Promises: what mlua's does, and its words when `self` is something else.

use mlua::{Error, FromLuaMulti, IntoLuaMulti, Lua, Result, UserDataMethods, UserDataRef, Value};

pub(crate) trait Methods<T: 'static> {
    fn method<A, R>(&mut self, name: &'static str, method: impl Fn(&Lua, &T, A) -> Result<R> + 'static)
    where
        A: FromLuaMulti,
        R: IntoLuaMulti;

    /// One that may wait.
    fn waiting_method<A, R, F>(
        &mut self,
        name: &'static str,
        method: impl Fn(Lua, UserDataRef<T>, A) -> F + 'static,
    ) where
        A: FromLuaMulti,
        F: Future<Output = Result<R>> + 'static,
        R: IntoLuaMulti;
}

impl<T: 'static, M: UserDataMethods<T>> Methods<T> for M {
    fn method<A, R>(&mut self, name: &'static str, method: impl Fn(&Lua, &T, A) -> Result<R> + 'static)
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.add_function(name, move |lua, (this, args): (Value, A)| {
            method(lua, &*borrow::<T>(&this, name)?, args)
        });
    }

    fn waiting_method<A, R, F>(
        &mut self,
        name: &'static str,
        method: impl Fn(Lua, UserDataRef<T>, A) -> F + 'static,
    ) where
        A: FromLuaMulti,
        F: Future<Output = Result<R>> + 'static,
        R: IntoLuaMulti,
    {
        self.add_async_function(name, move |lua, (this, args): (Value, A)| {
            let call = borrow::<T>(&this, name).map(|this| method(lua, this, args));
            async { call?.await }
        });
    }
}

#[inline(never)]
fn borrow<T: 'static>(this: &Value, method: &str) -> Result<UserDataRef<T>> {
    let borrowed = match this {
        Value::UserData(this) => this.borrow::<T>(),
        Value::Nil => Err(wrong_type("missing argument")),
        other => Err(wrong_type(other.type_name())),
    };
    borrowed.map_err(|error| bad_self(std::any::type_name::<T>(), method, error))
}

fn wrong_type(from: &'static str) -> Error {
    Error::FromLuaConversionError { from, to: "userdata".to_owned(), message: None }
}

fn bad_self(of: &str, method: &str, error: Error) -> Error {
    let of = of.rsplit("::").next().unwrap_or(of);
    Error::BadArgument {
        to: Some(format!("{of}.{method}")),
        pos: 1,
        name: Some("self".to_owned()),
        cause: error.into(),
    }
}
