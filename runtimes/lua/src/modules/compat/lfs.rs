//! `lfs`: LuaFileSystem 1.8 over the guest's files, with Linux's words and numbers for errors.
//!
//! A path is absolute, or below the current directory (`chdir`, at first `/`); `..` is taken by name, and above `/` is
//! `/`. The directory that was granted under the longest part of it is the one it is looked for in, and nothing
//! outside of that can be reached. There are no users and no modes: what can be read is `r--r--r--`, what can be changed
//! `rw-rw-rw-`, and directories can be entered.
//!
//! Not here: locks of files (`lock`, `unlock`): nobody else has them open; those of directories (`lock_dir`) are links, as
//! there.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use lunette_hostcalls::{Errno, FileKind, Files, NewNode, Node, Stat, path};
use mlua::{AnyUserData, Lua, MetaMethod, MultiValue, Table, UserData, UserDataMethods, Value};

use super::raising::{self, argument};
use crate::methods::Methods as _;
use crate::world::World;

pub(super) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    let lfs = Rc::new(Lfs { world: world.clone(), current: RefCell::new(String::from("/")) });
    module.raw_set("_VERSION", "LuaFileSystem 1.8.0")?;
    module.raw_set("_COPYRIGHT", "Copyright (C) 2003-2017 Kepler Project")?;
    module.raw_set(
        "_DESCRIPTION",
        "LuaFileSystem is a Lua library developed to complement the set of \
        functions related to file systems offered by the standard Lua distribution",
    )?;

    for (name, follow) in [("attributes", true), ("symlinkattributes", false)] {
        let lfs = lfs.clone();
        let attributes = move |lua: &Lua, (path, what): (String, Option<Value>)| {
            let (found, stat) = match lfs.stat(&path, follow) {
                Ok(found) => found,
                Err(errno) => {
                    let words = format!("cannot obtain information from file '{path}': {}", linux(errno).0);
                    return many(lua, (Value::Nil, words, linux(errno).1));
                }
            };
            let one = match &what {
                Some(Value::String(name)) => Some(name.to_string_lossy()),
                _ => None,
            };
            let target =
                || (!follow && stat.kind == FileKind::Symlink).then(|| found.files.read_link(found.node));
            if let Some(name) = one {
                return match (name.as_str(), target()) {
                    ("target", Some(target)) => many(lua, target.ok()),
                    _ => match attribute(&name, &stat, &found) {
                        Some(value) => many(lua, value),
                        None => Err(format!("invalid attribute name '{name}'")),
                    },
                };
            }
            let fill = |table: Table| {
                for name in ATTRIBUTES {
                    table.raw_set(*name, attribute(name, &stat, &found))?;
                }
                if let Some(Ok(target)) = target() {
                    table.raw_set("target", target)?;
                }
                Ok::<_, mlua::Error>(table)
            };
            let table = match what {
                Some(Value::Table(table)) => Ok(table),
                _ => lua.create_table(),
            };
            many(lua, table.and_then(fill).map_err(|error| error.to_string())?)
        };
        module.raw_set(name, raising::function(lua, attributes)?)?;
    }

    // What makes `true`, or `nil`, the words and the number.
    type Change<A> = fn(&Lfs, A) -> Result<(), Errno>;
    fn change<A: mlua::FromLuaMulti + 'static>(
        lua: &Lua,
        module: &Table,
        lfs: &Rc<Lfs>,
        name: &str,
        change: Change<A>,
    ) -> mlua::Result<()> {
        let lfs = lfs.clone();
        let call = move |lua: &Lua, args: A| match change(&lfs, args) {
            Ok(()) => many(lua, true),
            Err(errno) => many(lua, (Value::Nil, linux(errno).0, linux(errno).1)),
        };
        module.raw_set(name, raising::function(lua, call)?)
    }
    change(lua, &module, &lfs, "mkdir", |lfs, path: String| lfs.create(&path, NewNode::Directory))?;
    change(lua, &module, &lfs, "rmdir", |lfs, path: String| {
        let (found, name) = lfs.last(&path)?;
        found.files.remove_directory(found.node, &name, lfs.now())
    })?;
    change(lua, &module, &lfs, "link", |lfs, (old, new, symbolic): (String, String, Option<bool>)| {
        if symbolic == Some(true) {
            return lfs.create(&new, NewNode::Symlink(&old));
        }
        let from = lfs.find(&old, false)?;
        let (to, name) = lfs.last(&new)?;
        if !Arc::ptr_eq(&from.files, &to.files) {
            return Err(Errno::Xdev);
        }
        to.files.link(from.node, to.node, &name, lfs.now())
    })?;
    change(
        lua,
        &module,
        &lfs,
        "touch",
        |lfs, (path, accessed, modified): (String, Option<f64>, Option<f64>)| {
            let found = lfs.find(&path, true)?;
            let now = lfs.now();
            let nanos = |seconds: f64| (seconds.max(0.0) * 1e9) as u64;
            let accessed = accessed.map_or(now, nanos);
            let modified = modified.map_or(accessed, nanos);
            found.files.set_times(found.node, Some(accessed), Some(modified), now)
        },
    )?;

    module.raw_set("currentdir", {
        let lfs = lfs.clone();
        lua.create_function(move |_, ()| Ok(lfs.current.borrow().clone()))?
    })?;
    module.raw_set("chdir", {
        let lfs = lfs.clone();
        let chdir = move |lua: &Lua, path: String| match lfs.change_directory(&path) {
            Ok(()) => many(lua, true),
            Err(errno) => {
                let words = linux(errno).0;
                many(lua, (Value::Nil, format!("Unable to change working directory to '{path}'\n{words}\n")))
            }
        };
        raising::function(lua, chdir)?
    })?;
    module.raw_set("dir", {
        let lfs = lfs.clone();
        let next = raising::function(lua, |lua, dir: AnyUserData| {
            let dir = dir.borrow::<Dir>().map_err(|_| argument(1, "directory metatable expected"))?;
            dir.next().map(|name| lua.pack(name))?.map_err(|error| error.to_string())
        })?;
        let dir = move |lua: &Lua, path: String| {
            let dir = lfs.dir(&path).map_err(|errno| format!("cannot open {path}: {}", linux(errno).0))?;
            let dir = lua.create_userdata(dir).map_err(|error| error.to_string())?;
            many(lua, (next.clone(), &dir, Value::Nil, &dir))
        };
        raising::function(lua, dir)?
    })?;
    module.raw_set("lock_dir", {
        let lfs = lfs.clone();
        let lock = move |lua: &Lua, path: String| {
            let path = format!("{path}/lockfile.lfs");
            match lfs.create(&path, NewNode::Symlink("lock")) {
                Ok(()) => {
                    many(lua, Lock { lfs: lfs.clone(), path: lfs.absolute(&path), held: Cell::new(true) })
                }
                Err(errno) => many(lua, (Value::Nil, linux(errno).0)),
            }
        };
        raising::function(lua, lock)?
    })?;
    // Files are never text here.
    module.raw_set(
        "setmode",
        raising::function(lua, |lua, (file, mode): (Value, String)| {
            if lua
                .globals()
                .get::<Table>("io")
                .and_then(|io| io.get::<mlua::Function>("type"))
                .and_then(|kind| kind.call::<String>(file))
                .is_ok_and(|kind| kind == "closed file")
            {
                return Err("setmode: closed file".into());
            }
            match mode.as_str() {
                "binary" | "text" => many(lua, (true, "binary")),
                other => Err(argument(2, &format!("invalid option '{other}'"))),
            }
        })?,
    )?;
    for name in ["lock", "unlock"] {
        let (words, number) = linux(Errno::Notsup);
        module
            .raw_set(name, lua.create_function(move |_, _: MultiValue| Ok((Value::Nil, words, number)))?)?;
    }
    Ok(Value::Table(module))
}

fn many(lua: &Lua, values: impl mlua::IntoLuaMulti) -> Result<MultiValue, String> {
    values.into_lua_multi(lua).map_err(|error| error.to_string())
}

struct Lfs {
    world: Rc<World>,
    /// Absolute, without a `/` at its end unless it is the root.
    current: RefCell<String>,
}

/// A node, and where it is.
struct Found {
    files: Arc<dyn Files>,
    node: Node,
}

impl Lfs {
    fn now(&self) -> u64 {
        self.world.ctx.clock.wall().unwrap_or(0)
    }

    /// A path from the root on, without `.` and `..`.
    fn absolute(&self, path: &str) -> String {
        let current = self.current.borrow();
        let before = if path.starts_with('/') { "" } else { &*current };
        let mut names = Vec::new();
        for name in before.split('/').chain(path.split('/')) {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        format!("/{}", names.join("/"))
    }

    /// The granted directory that it is in, and the path from there on.
    fn place(&self, path: &str) -> Result<(Found, String), Errno> {
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        let slash = if path.ends_with('/') { "/" } else { "" };
        let path = self.absolute(path);
        let within = |preopen: &str| {
            let name = preopen.trim_matches('/');
            match path[1..].strip_prefix(name)? {
                rest if name.is_empty() || rest.is_empty() => Some((name.len(), rest.to_owned())),
                rest => rest.strip_prefix('/').map(|rest| (name.len(), rest.to_owned())),
            }
        };
        let preopens = self.world.ctx.preopens.iter();
        let (preopen, (_, rest)) = preopens
            .filter_map(|preopen| within(&preopen.name).map(|found| (preopen, found)))
            .max_by_key(|(_, (length, _))| *length)
            .ok_or(Errno::Noent)?;
        let rest = if rest.is_empty() { ".".to_owned() } else { rest + slash };
        Ok((Found { files: preopen.files.clone(), node: preopen.root }, rest))
    }

    fn find(&self, path: &str, follow: bool) -> Result<Found, Errno> {
        let (root, rest) = self.place(path)?;
        let node = path::walk(&*root.files, root.node, &rest, follow)?.existing()?;
        Ok(Found { files: root.files, node })
    }

    /// The directory that a path's last name is in, and that name.
    fn last(&self, path: &str) -> Result<(Found, String), Errno> {
        let (root, rest) = self.place(path)?;
        let place = path::walk(&*root.files, root.node, &rest, false)?;
        // What is granted can be neither made nor removed.
        let name = place.name.ok_or(Errno::Busy)?;
        Ok((Found { files: root.files, node: place.dir }, name))
    }

    fn create(&self, path: &str, new: NewNode<'_>) -> Result<(), Errno> {
        match self.last(path) {
            Ok((dir, name)) => dir.files.create(dir.node, &name, new, self.now()).map(drop),
            Err(Errno::Busy) => Err(Errno::Exist),
            Err(errno) => Err(errno),
        }
    }

    fn stat(&self, path: &str, follow: bool) -> Result<(Found, Stat), Errno> {
        let found = self.find(path, follow)?;
        let stat = found.files.stat(found.node)?;
        Ok((found, stat))
    }

    fn change_directory(&self, path: &str) -> Result<(), Errno> {
        let (_, stat) = self.stat(path, true)?;
        if stat.kind != FileKind::Directory {
            return Err(Errno::Notdir);
        }
        let path = self.absolute(path);
        self.current.replace(path);
        Ok(())
    }

    fn dir(&self, path: &str) -> Result<Dir, Errno> {
        let (found, stat) = self.stat(path, true)?;
        if stat.kind != FileKind::Directory {
            return Err(Errno::Notdir);
        }
        found.files.retain(found.node);
        Ok(Dir { files: found.files, node: found.node, at: Cell::new(At::Itself) })
    }
}

/// A directory that is being listed.
struct Dir {
    files: Arc<dyn Files>,
    node: Node,
    at: Cell<At>,
}

/// What comes next of it.
#[derive(Clone, Copy)]
enum At {
    /// `.`
    Itself,
    /// `..`
    Parent,
    /// The entry after this one.
    After(u64),
    Closed,
}

impl Dir {
    fn next(&self) -> Result<Option<String>, String> {
        let (name, at) = match self.at.get() {
            At::Itself => (".".to_owned(), At::Parent),
            At::Parent => ("..".to_owned(), At::After(0)),
            At::After(cookie) => match self.files.entry_after(self.node, cookie) {
                Ok(Some(entry)) => (entry.name, At::After(entry.cookie)),
                // A directory that goes wrong ends, as `readdir` does there.
                Ok(None) | Err(_) => {
                    self.close();
                    return Ok(None);
                }
            },
            At::Closed => return Err(argument(1, "closed directory")),
        };
        self.at.set(at);
        Ok(Some(name))
    }

    fn close(&self) {
        if !matches!(self.at.replace(At::Closed), At::Closed) {
            self.files.release(self.node);
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        self.close();
    }
}

impl UserData for Dir {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.method("next", |_, dir, ()| dir.next().map_err(mlua::Error::runtime));
        methods.method("close", |_, dir, ()| {
            dir.close();
            Ok(())
        });
        methods.add_meta_method(MetaMethod::Close, |_, dir, _: Value| {
            dir.close();
            Ok(())
        });
    }
}

/// A directory's lock: a link in it, until it is freed.
struct Lock {
    lfs: Rc<Lfs>,
    path: String,
    held: Cell<bool>,
}

impl Lock {
    fn free(&self) {
        if self.held.take()
            && let Ok((dir, name)) = self.lfs.last(&self.path)
        {
            // Gone already: it was removed by hand.
            let _ = dir.files.unlink(dir.node, &name, self.lfs.now());
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.free();
    }
}

impl UserData for Lock {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.method("free", |_, lock, ()| {
            lock.free();
            Ok(())
        });
    }
}

const ATTRIBUTES: &[&str] = &[
    "mode",
    "dev",
    "ino",
    "nlink",
    "uid",
    "gid",
    "rdev",
    "access",
    "modification",
    "change",
    "size",
    "permissions",
    "blocks",
    "blksize",
];

/// One of a file's attributes.
enum Attribute {
    Word(&'static str),
    Number(u64),
}

impl mlua::IntoLua for Attribute {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Word(word) => word.into_lua(lua),
            Self::Number(number) => number.into_lua(lua),
        }
    }
}

fn attribute(name: &str, stat: &Stat, found: &Found) -> Option<Attribute> {
    const SECOND: u64 = 1_000_000_000;
    Some(Attribute::Number(match name {
        "mode" => {
            return Some(Attribute::Word(match stat.kind {
                FileKind::File => "file",
                FileKind::Directory => "directory",
                FileKind::Symlink => "link",
            }));
        }
        "permissions" => {
            return Some(Attribute::Word(match (stat.kind, found.files.writable(found.node)) {
                (FileKind::Directory, true) => "rwxrwxrwx",
                (FileKind::Directory, false) => "r-xr-xr-x",
                (FileKind::Symlink, _) => "rwxrwxrwx",
                (FileKind::File, true) => "rw-rw-rw-",
                (FileKind::File, false) => "r--r--r--",
            }));
        }
        "dev" => stat.device,
        "ino" => stat.inode,
        "nlink" => stat.links,
        "uid" | "gid" | "rdev" => 0,
        "access" => stat.accessed / SECOND,
        "modification" => stat.modified / SECOND,
        "change" => stat.changed / SECOND,
        "size" => stat.size,
        "blocks" => stat.size.div_ceil(512),
        "blksize" => 4096,
        _ => return None,
    }))
}

/// Linux's words and number for an error of files.
fn linux(errno: Errno) -> (&'static str, i64) {
    match errno {
        Errno::Perm => ("Operation not permitted", 1),
        // Nothing is there that was granted.
        Errno::Noent | Errno::Notcapable => ("No such file or directory", 2),
        Errno::Io => ("Input/output error", 5),
        Errno::Badf => ("Bad file descriptor", 9),
        Errno::Nomem => ("Cannot allocate memory", 12),
        Errno::Acces => ("Permission denied", 13),
        Errno::Busy => ("Device or resource busy", 16),
        Errno::Exist => ("File exists", 17),
        Errno::Xdev => ("Invalid cross-device link", 18),
        Errno::Notdir => ("Not a directory", 20),
        Errno::Isdir => ("Is a directory", 21),
        Errno::Inval => ("Invalid argument", 22),
        Errno::Fbig => ("File too large", 27),
        Errno::Nospc => ("No space left on device", 28),
        Errno::Rofs => ("Read-only file system", 30),
        Errno::Mlink => ("Too many links", 31),
        Errno::Nametoolong => ("File name too long", 36),
        Errno::Notempty => ("Directory not empty", 39),
        Errno::Loop => ("Too many levels of symbolic links", 40),
        Errno::Notsup => ("Operation not supported", 95),
        _ => ("Input/output error", 5),
    }
}
