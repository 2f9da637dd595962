//! `kv`: stores of the service's, outside of Lua's memory.
//!
//! `kv.open(name [, {max=}])` opens the store of that name, of at most `max` bytes (a number, or `"64K"`, `"8M"`; 8 MiB unless
//! said otherwise). Its methods, where operational failure is `nil, message` (`not found`, `exists`, `no memory`, …):
//!
//! - `get(key)`; `set(key, value [, {ttl=, nx=, xx=}])`, where `nx` sets only what is not there and `xx` only what is;
//!   `delete(key)` tells whether it was there; `incr(key, amount [, initial])`; `clear()`.
//! - `expire(key, seconds)` and `ttl(key)`, `math.huge` being for ever; a `set` without `ttl` is for ever.
//! - `push(key, value [, "front"])`, `pop(key [, "back"])` and `len(key)` of lists: first in, first out.
//! - `keys([prefix [, limit]])` in order, and `#store`.
//!
//! Values are strings, numbers and booleans. Every call is atomic, and so is whatever a task does without waiting.
//!
//! Promises: a store never takes more than its `max`, and nothing is thrown out to make room but what has expired. All that
//! scripts need of a store is in [`Stores`], which no Lua state owns: it outlives a reload ([`crate::world::Kept`]).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    rc::Rc,
    time::Duration,
};

use lunette_hostcalls::Nanos;
use mlua::{IntoLua, Lua, LuaString, MetaMethod, MultiValue, Table, UserData, UserDataMethods, Value};

use crate::{
    methods::Methods as _,
    options::{Options, duration},
    world::World,
};

const MAX: u64 = 8 << 20;
/// How many stores there can be.
const STORES: usize = 256;
/// How many keys `keys` lists unless told otherwise.
const KEYS: usize = 10_000;
/// What an entry costs besides its key and value: its place in the tree, its share of empty places.
const OVERHEAD: u64 = 96;
/// What an element of a list costs besides its bytes.
const ELEMENT: u64 = 24;

/// All stores by their names.
#[derive(Default)]
struct Stores {
    by_name: RefCell<BTreeMap<Vec<u8>, Rc<RefCell<Store>>>>,
}

pub(super) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    let stores = world.kept.get::<Stores>();
    let world = world.clone();
    let module = lua.create_table()?;
    let open = move |lua: &Lua, (name, options): (LuaString, Option<Table>)| {
        let options = Options::new(lua, "kv.open", options);
        let max = match options.get::<Value>("max")? {
            None => None,
            Some(max) => Some(size(&max).ok_or_else(|| {
                options.fault(format_args!("max is a number of bytes, or a text like 64K or 8M"))
            })?),
        };
        options.finish()?;
        let mut all = stores.by_name.borrow_mut();
        if !all.contains_key(&*name.as_bytes()) && all.len() == STORES {
            return Err(mlua::Error::runtime(format!("kv.open: there are {STORES} stores already")));
        }
        let store = all.entry(name.as_bytes().to_vec()).or_default().clone();
        if let Some(max) = max {
            store.borrow_mut().max = max;
        }
        Ok(Handle { store, world: world.clone() })
    };
    module.raw_set("open", lua.create_function(open)?)?;
    Ok(Value::Table(module))
}

/// A number of bytes.
fn size(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        Value::Number(bytes) if *bytes >= 0.0 => Some(*bytes as u64),
        Value::String(text) => {
            let text = text.to_string_lossy();
            let (number, unit) =
                text.split_at(text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len()));
            let unit = match unit {
                "" => 0,
                "K" | "k" => 10,
                "M" | "m" => 20,
                "G" | "g" => 30,
                _ => return None,
            };
            number.parse::<u64>().ok()?.checked_mul(1 << unit)
        }
        _ => None,
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
enum Scalar {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Bytes(Box<[u8]>),
}

impl Scalar {
    fn of(call: &str, value: &Value) -> mlua::Result<Self> {
        Ok(match value {
            Value::Boolean(boolean) => Self::Boolean(*boolean),
            Value::Integer(integer) => Self::Integer(*integer),
            Value::Number(number) => Self::Number(*number),
            Value::String(text) => Self::Bytes(text.as_bytes().as_ref().into()),
            other => {
                let hint = match other {
                    Value::Table(_) => "; json.encode makes a string of it",
                    Value::Nil => "; delete removes a key",
                    _ => "",
                };
                let kind = other.type_name();
                return Err(mlua::Error::runtime(format!("{call}: a value can't be a {kind}{hint}")));
            }
        })
    }

    fn cost(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            _ => 0,
        }
    }
}

impl IntoLua for &Scalar {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        Ok(match self {
            Scalar::Boolean(boolean) => Value::Boolean(*boolean),
            Scalar::Integer(integer) => Value::Integer(*integer),
            Scalar::Number(number) => Value::Number(*number),
            Scalar::Bytes(bytes) => Value::String(lua.create_string(bytes)?),
        })
    }
}

enum Held {
    One(Scalar),
    List(VecDeque<Scalar>),
}

impl Held {
    fn cost(&self) -> u64 {
        match self {
            Self::One(scalar) => scalar.cost(),
            Self::List(list) => list.iter().map(|scalar| ELEMENT + scalar.cost()).sum(),
        }
    }
}

struct Entry {
    held: Held,
    expires: Option<Nanos>,
}

/// Why a call has no result.
type Failure = &'static str;

const NOT_FOUND: Failure = "not found";
const NO_MEMORY: Failure = "no memory";

struct Store {
    max: u64,
    used: u64,
    entries: BTreeMap<Rc<[u8]>, Entry>,
    /// Those that expire, the first first.
    due: BTreeSet<(Nanos, Rc<[u8]>)>,
}

impl Default for Store {
    fn default() -> Self {
        Self { max: MAX, used: 0, entries: BTreeMap::new(), due: BTreeSet::new() }
    }
}

impl Store {
    /// Drops what has expired. Each call begins with it, so that nobody sees any.
    fn expire(&mut self, now: Nanos) {
        while let Some((at, _)) = self.due.first()
            && *at <= now
        {
            let (_, key) = self.due.pop_first().expect("just seen");
            if let Some(entry) = self.entries.remove(&key) {
                self.used -= Self::cost(&key, &entry);
            }
        }
    }

    fn cost(key: &[u8], entry: &Entry) -> u64 {
        let due = if entry.expires.is_some() { OVERHEAD } else { 0 };
        OVERHEAD + due + key.len() as u64 + entry.held.cost()
    }

    fn put(&mut self, key: &[u8], held: Held, expires: Option<Nanos>) -> Result<(), Failure> {
        let entry = Entry { held, expires };
        let before = self.entries.get(key).map_or(0, |entry| Self::cost(key, entry));
        let used = self.used - before + Self::cost(key, &entry);
        // What makes it no bigger fits, even if `max` was made smaller.
        if used > self.max && used > self.used {
            return Err(NO_MEMORY);
        }
        self.delete(key);
        let key: Rc<[u8]> = key.into();
        if let Some(at) = expires {
            self.due.insert((at, key.clone()));
        }
        self.entries.insert(key, entry);
        self.used = used;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return false };
        self.used -= Self::cost(&key, &entry);
        if let Some(at) = entry.expires {
            self.due.remove(&(at, key));
        }
        true
    }

    fn set_due(&mut self, key: &[u8], due: Option<Nanos>) -> Result<(), Failure> {
        let (key, entry) = self.entries.get_key_value(key).ok_or(NOT_FOUND)?;
        let (key, before) = (key.clone(), entry.expires);
        let used = match (before, due) {
            (None, Some(_)) => self.used + OVERHEAD,
            (Some(_), None) => self.used - OVERHEAD,
            _ => self.used,
        };
        if used > self.max && used > self.used {
            return Err(NO_MEMORY);
        }
        self.used = used;
        if let Some(at) = before {
            self.due.remove(&(at, key.clone()));
        }
        self.entries.get_mut(&key).expect("just found").expires = due;
        if let Some(at) = due {
            self.due.insert((at, key));
        }
        Ok(())
    }

    fn incr(&mut self, key: &[u8], amount: &Scalar, initial: Option<Scalar>) -> Result<Scalar, Failure> {
        let held = match (self.entries.get_mut(key), initial) {
            (Some(Entry { held: Held::One(scalar), .. }), _) => scalar,
            (Some(_), _) => return Err("it is a list"),
            (None, Some(initial)) => {
                self.put(key, Held::One(initial), None)?;
                return self.incr(key, amount, None);
            }
            (None, None) => return Err(NOT_FOUND),
        };
        let sum = match (&*held, amount) {
            // As Lua adds integers: around.
            (Scalar::Integer(before), Scalar::Integer(amount)) => {
                Scalar::Integer(before.wrapping_add(*amount))
            }
            (before, amount) => match (before.number(), amount.number()) {
                (Some(before), Some(amount)) => Scalar::Number(before + amount),
                _ => return Err("not a number"),
            },
        };
        // Numbers cost nothing besides their entry.
        *held = sum.clone();
        Ok(sum)
    }

    fn push(&mut self, key: &[u8], value: Scalar, front: bool) -> Result<usize, Failure> {
        let cost = ELEMENT + value.cost();
        let Some(entry) = self.entries.get_mut(key) else {
            self.put(key, Held::List(VecDeque::from([value])), None)?;
            return Ok(1);
        };
        let Held::List(list) = &mut entry.held else { return Err("it is no list") };
        if self.used + cost > self.max {
            return Err(NO_MEMORY);
        }
        self.used += cost;
        if front {
            list.push_front(value);
        } else {
            list.push_back(value);
        }
        Ok(list.len())
    }

    fn pop(&mut self, key: &[u8], back: bool) -> Result<Scalar, Failure> {
        let entry = self.entries.get_mut(key).ok_or(NOT_FOUND)?;
        let Held::List(list) = &mut entry.held else { return Err("it is no list") };
        let value = if back { list.pop_back() } else { list.pop_front() };
        let value = value.expect("empty lists are deleted");
        let empty = list.is_empty();
        self.used -= ELEMENT + value.cost();
        if empty {
            self.delete(key);
        }
        Ok(value)
    }
}

impl Scalar {
    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(*integer as f64),
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// A store in a script's hands.
struct Handle {
    store: Rc<RefCell<Store>>,
    world: Rc<World>,
}

impl Handle {
    fn now(&self) -> Nanos {
        self.world.ctx.clock.monotonic()
    }

    /// The store as it is now.
    fn store(&self) -> std::cell::RefMut<'_, Store> {
        let mut store = self.store.borrow_mut();
        store.expire(self.now());
        store
    }

    /// When that time is over; `None`: never.
    fn due(&self, time: Duration) -> Option<Nanos> {
        u64::try_from(time.as_nanos()).ok().and_then(|nanos| self.now().checked_add(nanos))
    }
}

/// The value, or `nil, message`.
fn answer(lua: &Lua, result: Result<impl IntoLua, Failure>) -> mlua::Result<MultiValue> {
    Ok(MultiValue::from_vec(match result {
        Ok(value) => vec![value.into_lua(lua)?],
        Err(words) => vec![Value::Nil, words.into_lua(lua)?],
    }))
}

/// Is it that end of a list?
fn is_end(call: &str, given: Option<&str>, usual: &str, other: &str) -> mlua::Result<bool> {
    match given {
        None => Ok(false),
        Some(end) if end == usual => Ok(false),
        Some(end) if end == other => Ok(true),
        Some(end) => {
            Err(mlua::Error::runtime(format!("{call}: a list has no end {end}; there are: front, back")))
        }
    }
}

impl UserData for Handle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.method("get", |lua, handle, key: LuaString| {
            answer(
                lua,
                match handle.store().entries.get(&*key.as_bytes()) {
                    Some(Entry { held: Held::One(scalar), .. }) => Ok(scalar.into_lua(lua)?),
                    Some(_) => Err("it is a list"),
                    None => Err(NOT_FOUND),
                },
            )
        });
        methods.method("set", |lua, handle, (key, value, options): (LuaString, Value, Option<Table>)| {
            let value = Scalar::of("kv.set", &value)?;
            let (mut expires, mut new, mut old) = (None, false, false);
            if options.is_some() {
                let options = Options::new(lua, "kv.set", options);
                expires = options.seconds("ttl")?.and_then(|time| handle.due(time));
                new = options.get("nx")?.unwrap_or(false);
                old = options.get("xx")?.unwrap_or(false);
                options.finish()?;
            }
            let key = key.as_bytes();
            let mut store = handle.store();
            let known = store.entries.contains_key(&*key);
            answer(
                lua,
                match known {
                    true if new => Err("exists"),
                    false if old => Err(NOT_FOUND),
                    _ => store.put(&key, Held::One(value), expires).map(|()| true),
                },
            )
        });
        methods.method("incr", |lua, handle, (key, amount, initial): (LuaString, Value, Value)| {
            let number = |value: &Value| match Scalar::of("kv.incr", value)? {
                number @ (Scalar::Integer(_) | Scalar::Number(_)) => Ok(number),
                _ => Err(mlua::Error::runtime("kv.incr: only numbers can be added")),
            };
            let amount = if amount.is_nil() { Scalar::Integer(1) } else { number(&amount)? };
            let initial = if initial.is_nil() { None } else { Some(number(&initial)?) };
            let sum = handle.store().incr(&key.as_bytes(), &amount, initial);
            answer(lua, sum.as_ref().map_err(|words| *words))
        });
        methods.method("delete", |_, handle, key: LuaString| Ok(handle.store().delete(&key.as_bytes())));
        methods.method("clear", |_, handle, ()| {
            let max = handle.store().max;
            handle.store.replace(Store { max, ..Store::default() });
            Ok(())
        });
        methods.method("expire", |lua, handle, (key, seconds): (LuaString, f64)| {
            let time = duration(seconds)
                .ok_or_else(|| mlua::Error::runtime(format!("kv.expire: {seconds} is no time in seconds")))?;
            answer(lua, handle.store().set_due(&key.as_bytes(), handle.due(time)).map(|()| true))
        });
        methods.method("ttl", |lua, handle, key: LuaString| {
            let now = handle.now();
            answer(
                lua,
                match handle.store().entries.get(&*key.as_bytes()) {
                    Some(Entry { expires: Some(at), .. }) => Ok((at - now) as f64 / 1e9),
                    Some(Entry { expires: None, .. }) => Ok(f64::INFINITY),
                    None => Err(NOT_FOUND),
                },
            )
        });
        methods.method("push", |lua, handle, (key, value, end): (LuaString, Value, Option<String>)| {
            let front = is_end("kv.push", end.as_deref(), "back", "front")?;
            let value = Scalar::of("kv.push", &value)?;
            answer(lua, handle.store().push(&key.as_bytes(), value, front))
        });
        methods.method("pop", |lua, handle, (key, end): (LuaString, Option<String>)| {
            let back = is_end("kv.pop", end.as_deref(), "front", "back")?;
            let value = handle.store().pop(&key.as_bytes(), back);
            answer(lua, value.as_ref().map_err(|words| *words))
        });
        methods.method("len", |lua, handle, key: LuaString| {
            answer(
                lua,
                match handle.store().entries.get(&*key.as_bytes()) {
                    Some(Entry { held: Held::List(list), .. }) => Ok(list.len()),
                    Some(_) => Err("it is no list"),
                    None => Ok(0),
                },
            )
        });
        methods.method("keys", |lua, handle, (prefix, limit): (Option<LuaString>, Option<usize>)| {
            let prefix = prefix.as_ref().map(LuaString::as_bytes);
            let prefix = prefix.as_deref().unwrap_or_default();
            let store = handle.store();
            let from = (Bound::Included(prefix), Bound::Unbounded);
            let keys = store.entries.range::<[u8], _>(from).map(|(key, _)| key);
            let keys = keys.take_while(|key| key.starts_with(prefix)).take(limit.unwrap_or(KEYS));
            let list = lua.create_table()?;
            for key in keys {
                list.raw_push(lua.create_string(key)?)?;
            }
            Ok(list)
        });
        methods.add_meta_method(MetaMethod::Len, |_, handle, ()| Ok(handle.store().entries.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::{Held, NO_MEMORY, OVERHEAD, Scalar, Store};

    #[test]
    fn what_is_used_is_what_is_there() {
        let mut store = Store { max: 4 * OVERHEAD, ..Store::default() };
        let text = |length: usize| Scalar::Bytes(vec![0; length].into());
        assert_eq!(store.put(b"a", Held::One(text(10)), Some(5)), Ok(()));
        assert_eq!(store.push(b"l", text(7), false), Ok(1));
        assert_eq!(store.push(b"l", text(700), true), Err(NO_MEMORY));
        assert_eq!(store.set_due(b"l", Some(7)), Err(NO_MEMORY));
        assert_eq!(store.set_due(b"a", None), Ok(()));
        assert_eq!(store.set_due(b"l", Some(7)), Ok(()));
        assert_eq!(store.put(b"a", Held::One(text(1)), None), Ok(()));
        assert_eq!(store.pop(b"l", true), Ok(text(7)));
        assert!(store.delete(b"a") && !store.delete(b"a"));
        assert!(store.due.is_empty() && store.entries.is_empty());
        assert_eq!(store.used, 0);
    }

    #[test]
    fn what_expires_goes_in_time() {
        let mut store = Store::default();
        for (key, at) in [(b"a", 3), (b"b", 1), (b"c", 2)] {
            assert_eq!(store.put(key, Held::One(Scalar::Boolean(true)), Some(at)), Ok(()));
        }
        store.expire(2);
        assert_eq!(store.entries.keys().map(|key| &**key).collect::<Vec<_>>(), [b"a"]);
        store.expire(3);
        assert_eq!(store.used, 0);
    }
}
