//! `io`, and `print`'s way out.
//!
//! Waits: a read of standard input that finds nothing, and a write to an output that has not taken what was written
//! before, suspend their coroutine. Standard output is written line by line, and what is left at the end of the script is
//! written then ([`finish`]).

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use lunette_hostcalls::{Errno, Stream as Way};
use mlua::{AnyUserData, Function, Lua, MultiValue, Value};

use super::{
    args::Args,
    emptied,
    errno::linux,
    native::{Answer, Fault, Library, Outcome, Wait, answer},
    stream::{Buffering, Format, Stop, Stream, Whence},
    values,
};
use crate::world::World;

/// How often a clogged output is tried again: nobody says when it takes more.
const RETRY: Duration = Duration::from_millis(1);

/// A file of Lua's. `None`: closed.
struct File {
    stream: RefCell<Option<Stream>>,
    world: Rc<World>,
}

impl Drop for File {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = stream.close(&self.world.ctx);
        }
    }
}

/// What a script's userdata holds: the standard streams are held by [`Streams`] as well.
#[derive(Clone)]
struct Handle(Rc<File>);

/// The standard streams, and the files that `io.read` and `io.write` are about.
struct Streams {
    world: Rc<World>,
    stdout: Rc<File>,
    input: RefCell<AnyUserData>,
    output: RefCell<AnyUserData>,
    /// Somebody waits for input: there is one place to wait at.
    waiting: Cell<bool>,
    draining: Cell<bool>,
}

impl Streams {
    fn of(lua: &Lua) -> Rc<Self> {
        lua.app_data_ref::<Rc<Self>>().expect("set when the library was opened").clone()
    }

    /// Sees to it that what standard output has not taken goes out when it can.
    fn drain(self: &Rc<Self>) {
        if self.draining.replace(true) {
            return;
        }
        let streams = self.clone();
        self.world.spawner.spawn(async move {
            streams.drained().await;
            streams.draining.set(false);
        });
    }

    async fn drained(&self) {
        loop {
            if let Some(stream) = &mut *self.stdout.stream.borrow_mut() {
                let _ = stream.flush(&self.world.ctx);
                if !stream.is_behind() {
                    return;
                }
            } else {
                return;
            }
            self.world.time.sleep(RETRY).await;
        }
    }
}

/// Writes out what a script has left.
pub(crate) async fn finish(lua: &Lua) {
    let streams = Streams::of(lua);
    streams.drained().await;
}

/// What waits for `settle`, as it was told to.
pub(super) fn waiter(lua: &Lua, world: &Rc<World>) -> mlua::Result<Function> {
    let world = world.clone();
    lua.create_async_function(move |lua, what: u8| {
        let world = world.clone();
        async move {
            let streams = Streams::of(&lua);
            if what == Wait::End as u8 {
                return std::future::pending().await;
            }
            if what == Wait::Output as u8 || streams.waiting.get() {
                world.time.sleep(RETRY).await;
                return Ok(());
            }
            // Who is asked should see the question.
            if let Some(stream) = &mut *streams.stdout.stream.borrow_mut() {
                let _ = stream.flush(&world.ctx);
            }
            let _waiting = Waiting::new(&streams.waiting);
            poll_fn(|cx| {
                if world.ctx.stdio.input().any() {
                    return Poll::Ready(());
                }
                world.ctx.stdio.register_input(cx.waker());
                Poll::Pending
            })
            .await;
            Ok(())
        }
    })
}

/// Set while it lives.
struct Waiting<'a>(&'a Cell<bool>);

impl<'a> Waiting<'a> {
    fn new(flag: &'a Cell<bool>) -> Self {
        flag.set(true);
        Self(flag)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

pub(super) fn open(library: &Library<'_>) -> mlua::Result<()> {
    let (lua, world) = (library.lua, library.world);
    let methods = lua.create_table()?;
    lua.register_userdata_type::<Handle>(|registry| {
        use mlua::{MetaMethod, UserDataFields, UserDataMethods};
        registry.add_meta_field("__name", "FILE*");
        registry.add_meta_field("__index", methods.clone());
        registry.add_meta_method(MetaMethod::ToString, |_, file, ()| {
            Ok(match &*file.0.stream.borrow() {
                Some(_) => format!("file ({:p})", Rc::as_ptr(&file.0)),
                None => "file (closed)".to_owned(),
            })
        });
        registry.add_meta_method(MetaMethod::Close, |_, file, _: MultiValue| {
            let open = file.0.stream.borrow().as_ref().is_some_and(|stream| !stream.is_standard());
            if let Some(stream) = open.then(|| file.0.stream.take()).flatten() {
                let _ = stream.close(&file.0.world.ctx);
            }
            Ok(())
        });
    })?;
    let most = world.limits.memory;
    let handle = |stream| Handle(Rc::new(File { stream: RefCell::new(Some(stream)), world: world.clone() }));
    let (stdin, stdout) = (handle(Stream::input(most)), handle(Stream::output(Way::Out, most)));
    let stderr = handle(Stream::output(Way::Err, most));
    let io = emptied(lua, "io")?;
    let stdout_file = stdout.0.clone();
    let (stdin, stdout) = (lua.create_any_userdata(stdin)?, lua.create_any_userdata(stdout)?);
    io.raw_set("stdin", &stdin)?;
    io.raw_set("stdout", &stdout)?;
    io.raw_set("stderr", lua.create_any_userdata(stderr)?)?;
    lua.set_app_data(Rc::new(Streams {
        world: world.clone(),
        stdout: stdout_file,
        input: RefCell::new(stdin),
        output: RefCell::new(stdout),
        waiting: Cell::default(),
        draining: Cell::default(),
    }));

    library.set(&io, "open", |args| {
        let name = args.text(1)?;
        let mode = args.opt_string(2)?;
        let mode = mode.as_ref().map_or_else(|| b"r".to_vec(), |mode| mode.as_bytes().to_vec());
        if !is_mode(&mode) {
            return Err(args.fault(2, "invalid mode"));
        }
        match open_file(args.lua, &name, &mode) {
            Ok(file) => answer(args.lua, file?),
            Err(errno) => failed(args.lua, errno, Some(&name)),
        }
    })?;
    library.set(&io, "popen", |args| {
        args.text(1)?;
        let mode = args.opt_string(2)?;
        if mode.is_some_and(|mode| !matches!(&*mode.as_bytes(), b"r" | b"w")) {
            return Err(args.fault(2, "invalid mode"));
        }
        Err(Fault::Raise("'popen' not supported".into()))
    })?;
    library.set(&io, "tmpfile", |args| {
        let world = World::of(args.lua);
        let name = match super::os::new_name(&world.ctx) {
            Ok(name) => name,
            Err(errno) => return failed(args.lua, errno, None),
        };
        let file = open_file(args.lua, &name, b"w+");
        // Its name goes, it stays as long as it is open.
        let _ = super::os::remove(&world.ctx, &name);
        match file {
            Ok(file) => answer(args.lua, file?),
            Err(errno) => failed(args.lua, errno, None),
        }
    })?;
    library.set(&io, "type", |args| {
        if args.len() == 0 {
            return Err(args.fault(1, "value expected"));
        }
        let kind = args
            .userdata(1)
            .and_then(|data| data.borrow::<Handle>().ok())
            .map(|handle| if handle.0.stream.borrow().is_some() { "file" } else { "closed file" });
        answer(args.lua, kind)
    })?;
    library.set(&io, "input", |args| default_file(args, b"r", |streams| &streams.input))?;
    library.set(&io, "output", |args| default_file(args, b"w", |streams| &streams.output))?;
    library.set(&io, "read", |args| {
        let (_, file) = current(args, "input", |streams| &streams.input)?;
        read(args, &file, 1)
    })?;
    library.set(&io, "write", |args| {
        let (data, file) = current(args, "output", |streams| &streams.output)?;
        write(args, &data, &file, 1)
    })?;
    library.set(&io, "flush", |args| {
        let (data, file) = current(args, "output", |streams| &streams.output)?;
        flush(args, &data, &file)
    })?;
    library.set(&io, "close", |args| {
        if args.len() == 0 {
            let data = Streams::of(args.lua).output.borrow().clone();
            return close(args, &*file_of(args, &data)?);
        }
        close(args, &*own(args)?)
    })?;
    methods.raw_set("close", library.method("close", |args| close(args, &*own(args)?))?)?;
    methods.raw_set("read", library.method("read", |args| read(args, &*own(args)?, 2))?)?;
    methods.raw_set(
        "write",
        library.method("write", |args| {
            let file = own(args)?;
            write(args, args.userdata(1).expect("it is a file"), &file, 2)
        })?,
    )?;
    methods.raw_set(
        "flush",
        library.method("flush", |args| {
            let file = own(args)?;
            flush(args, args.userdata(1).expect("it is a file"), &file)
        })?,
    )?;
    methods.raw_set("seek", library.method("seek", seek)?)?;
    methods.raw_set(
        "setvbuf",
        library.method("setvbuf", |args| {
            let file = own(args)?;
            let how = args.option(2, None, &["no", "full", "line"])?;
            let room = args.opt_integer(3)?.unwrap_or(1024);
            let how = [Buffering::No, Buffering::Full, Buffering::Line][how];
            if let Some(stream) = &mut *file.stream.borrow_mut() {
                stream.set_buffering(how, usize::try_from(room).unwrap_or(1024));
            }
            answer(args.lua, true)
        })?,
    )?;
    let settle = library.settle.clone();
    let file_settle = settle.clone();
    library.set(&io, "lines", move |args| {
        if args.is_nil(1) {
            let data = Streams::of(args.lua).input.borrow().clone();
            file_of(args, &data)?;
            return answer(args.lua, lines(args, &settle, data, false)?);
        }
        let name = args.text(1)?;
        let file = open_file(args.lua, &name, b"r").map_err(|errno| cannot_open(&name, errno))??;
        let lines = lines(args, &settle, file.clone(), true)?;
        answer(args.lua, (lines, Value::Nil, Value::Nil, file))
    })?;
    methods.raw_set(
        "lines",
        library.method("lines", move |args| {
            own(args)?;
            let data = args.userdata(1).expect("it is a file").clone();
            answer(args.lua, lines(args, &file_settle, data, false)?)
        })?,
    )
}

/// Writes a whole line of `print`'s.
pub(super) fn put(library: &Library<'_>) -> mlua::Result<Function> {
    library.function("print", |args| {
        let streams = Streams::of(args.lua);
        let line = args.string(1)?;
        if let Some(stream) = &mut *streams.stdout.stream.borrow_mut() {
            if stream.is_clogged() {
                return Ok(Answer::Wait(Wait::Output));
            }
            let _ = stream.write(&streams.world.ctx, &line.as_bytes());
            if stream.is_behind() {
                streams.drain();
            }
        }
        answer(args.lua, ())
    })
}

/// `warn`, as the program `lua` has it: off until `@on`.
pub(super) fn warn(lua: &Lua, world: &Rc<World>) {
    let (world, on) = (world.clone(), Cell::new(false));
    let line = RefCell::new(String::new());
    lua.set_warning_function(move |_, words, more| {
        let mut line = line.borrow_mut();
        match words {
            "@on" if line.is_empty() && !more => on.set(true),
            "@off" if line.is_empty() && !more => on.set(false),
            _ if line.is_empty() && !more && words.starts_with('@') => {}
            _ => {
                line.push_str(words);
                if !more {
                    let line = std::mem::take(&mut *line);
                    if on.get() {
                        world.say(&format!("Lua warning: {line}"));
                    }
                }
            }
        }
        Ok(())
    });
}

fn is_mode(mode: &[u8]) -> bool {
    let [b'r' | b'w' | b'a', rest @ ..] = mode else { return false };
    let rest = rest.strip_prefix(b"+").unwrap_or(rest);
    rest.iter().all(|&byte| byte == b'b')
}

fn open_file(lua: &Lua, name: &str, mode: &[u8]) -> Result<mlua::Result<AnyUserData>, Errno> {
    let world = World::of(lua);
    let stream = Stream::open(&world.ctx, name, mode, world.limits.memory)?;
    Ok(lua.create_any_userdata(Handle(Rc::new(File { stream: RefCell::new(Some(stream)), world }))))
}

fn cannot_open(name: &str, errno: Errno) -> Fault {
    Fault::Raise(format!("cannot open file '{name}' ({})", linux(errno).1))
}

/// `luaL_fileresult`.
pub(super) fn failed(lua: &Lua, errno: Errno, name: Option<&str>) -> Outcome {
    let (number, words) = linux(errno);
    let words = name.map_or_else(|| words.clone(), |name| format!("{name}: {words}"));
    answer(lua, (Value::Nil, words, number))
}

fn done(lua: &Lua, result: Result<(), Errno>, name: Option<&str>) -> Outcome {
    match result {
        Ok(()) => answer(lua, true),
        Err(errno) => failed(lua, errno, name),
    }
}

/// The open file that a call has as its first argument.
fn own(args: &Args<'_>) -> Result<Rc<File>, Fault> {
    let data = args.userdata(1).ok_or_else(|| args.expected(1, "FILE*"))?;
    file_of(args, data)
}

fn file_of(args: &Args<'_>, data: &AnyUserData) -> Result<Rc<File>, Fault> {
    let file = data.borrow::<Handle>().map_err(|_| args.expected(1, "FILE*"))?.0.clone();
    let open = file.stream.borrow().is_some();
    if open { Ok(file) } else { Err(Fault::Raise("attempt to use a closed file".into())) }
}

fn current(
    args: &Args<'_>,
    name: &str,
    which: fn(&Streams) -> &RefCell<AnyUserData>,
) -> Result<(AnyUserData, Rc<File>), Fault> {
    let data = which(&Streams::of(args.lua)).borrow().clone();
    let file = file_of(args, &data).map_err(|_| Fault::Raise(format!("default {name} file is closed")))?;
    Ok((data, file))
}

fn default_file(args: &Args<'_>, mode: &[u8], which: fn(&Streams) -> &RefCell<AnyUserData>) -> Outcome {
    let streams = Streams::of(args.lua);
    match args.get(1) {
        Value::Nil => {}
        Value::String(_) | Value::Integer(_) | Value::Number(_) => {
            let name = args.text(1)?;
            let file = open_file(args.lua, &name, mode).map_err(|errno| cannot_open(&name, errno))??;
            which(&streams).replace(file);
        }
        _ => {
            own(args)?;
            which(&streams).replace(args.userdata(1).expect("it is a file").clone());
        }
    }
    answer(args.lua, which(&streams).borrow().clone())
}

fn close(args: &Args<'_>, file: &File) -> Outcome {
    let standard = file.stream.borrow().as_ref().is_some_and(Stream::is_standard);
    if standard {
        return answer(args.lua, (Value::Nil, "cannot close standard file"));
    }
    let stream = file.stream.take();
    done(args.lua, stream.map_or(Ok(()), |stream| stream.close(&file.world.ctx)), None)
}

fn flush(args: &Args<'_>, data: &AnyUserData, file: &File) -> Outcome {
    let result = file.stream.borrow_mut().as_mut().map_or(Ok(()), |stream| {
        let result = stream.flush(&file.world.ctx);
        if stream.is_behind() {
            Streams::of(args.lua).drain();
        }
        result
    });
    match result {
        Ok(()) => answer(args.lua, data),
        Err(errno) => failed(args.lua, errno, None),
    }
}

fn seek(args: &Args<'_>) -> Outcome {
    let file = own(args)?;
    let whence = args.option(2, Some(1), &["set", "cur", "end"])?;
    let by = args.opt_integer(3)?.unwrap_or(0);
    let whence = [Whence::Start, Whence::Here, Whence::End][whence];
    let result = match &mut *file.stream.borrow_mut() {
        Some(stream) => stream.seek(&file.world.ctx, whence, by),
        None => Err(Errno::Badf),
    };
    match result {
        Ok(at) => answer(args.lua, at),
        Err(errno) => failed(args.lua, errno, None),
    }
}

fn write(args: &Args<'_>, data: &AnyUserData, file: &File, first: usize) -> Outcome {
    let mut stream = file.stream.borrow_mut();
    let Some(stream) = &mut *stream else { return Err(Fault::Raise("attempt to use a closed file".into())) };
    if stream.is_clogged() {
        return Ok(Answer::Wait(Wait::Output));
    }
    for index in first..=args.len() {
        let bytes = match args.get(index) {
            // As `fprintf` does it: without the `.0` of a whole number.
            Value::Number(number) => {
                let format: Function = args.lua.named_registry_value("string.format")?;
                format.call(("%.14g", *number))?
            }
            _ => args.string(index)?,
        };
        if let Err(errno) = stream.write(&file.world.ctx, &bytes.as_bytes()) {
            return failed(args.lua, errno, None);
        }
    }
    if stream.is_behind() && stream.buffering != Buffering::Full {
        Streams::of(args.lua).drain();
    }
    answer(args.lua, data)
}

fn read(args: &Args<'_>, file: &File, first: usize) -> Outcome {
    let given = args.values.iter().skip(first - 1);
    let mut formats = Vec::new();
    for (value, index) in given.zip(first..) {
        formats.push(format(args, value, index)?);
    }
    if formats.is_empty() {
        formats.push(Format::Line { chop: true });
    }
    let items = match &mut *file.stream.borrow_mut() {
        Some(stream) => stream.read(&file.world.ctx, &formats),
        None => return Err(Fault::Raise("attempt to use a closed file".into())),
    };
    let items = match items {
        Ok(items) => items,
        Err(Stop::Wait(wait)) => return Ok(Answer::Wait(wait)),
        Err(Stop::Error(Errno::Nomem)) => return Err(Fault::Raise("not enough memory".into())),
        Err(Stop::Error(errno)) => return failed(args.lua, errno, None),
    };
    let mut results = MultiValue::with_capacity(items.len() + 1);
    for (item, format) in items.into_iter().zip(&formats) {
        let value = match (item, format) {
            (None, _) => Value::Nil,
            (Some(text), Format::Number) => {
                let tonumber: Function = args.lua.named_registry_value("tonumber")?;
                tonumber.call(args.lua.create_string(text)?)?
            }
            (Some(text), _) => Value::String(args.lua.create_string(text)?),
        };
        let last = value.is_nil();
        results.push_back(value);
        if last {
            break;
        }
    }
    Ok(Answer::Values(results))
}

fn format(args: &Args<'_>, value: &Value, index: usize) -> Result<Format, Fault> {
    if matches!(value, Value::Integer(_) | Value::Number(_)) {
        let count = args.integer(index)?;
        return usize::try_from(count)
            .map(Format::Bytes)
            .map_err(|_| Fault::Raise("not enough memory".into()));
    }
    let format = args.string(index)?;
    let format = format.as_bytes();
    match format.strip_prefix(b"*").unwrap_or(&format).first() {
        Some(b'n') => Ok(Format::Number),
        Some(b'l') => Ok(Format::Line { chop: true }),
        Some(b'L') => Ok(Format::Line { chop: false }),
        Some(b'a') => Ok(Format::All),
        _ => Err(args.fault(index, "invalid format")),
    }
}

/// The iterator of `lines`.
fn lines(args: &Args<'_>, settle: &Function, file: AnyUserData, close: bool) -> Result<Function, Fault> {
    if args.len() > 251 {
        return Err(args.fault(252, "too many arguments"));
    }
    let lua = args.lua;
    let formats: MultiValue = args.values.iter().skip(1).cloned().collect();
    let library = Library { lua, world: &World::of(lua), settle: settle.clone() };
    let next = library.function("lines", move |args| {
        let handle = file.borrow::<Handle>()?.0.clone();
        if handle.stream.borrow().is_none() {
            return Err(Fault::Raise("file is already closed".into()));
        }
        let args = Args { lua: args.lua, name: "lines", method: false, values: formats.clone() };
        let Answer::Values(results) = read(&args, &handle, 1)? else { return Ok(Answer::Wait(Wait::Input)) };
        if !matches!(results.front(), None | Some(Value::Nil)) {
            return Ok(Answer::Values(results));
        }
        // An error, or the end.
        if let Some(Value::String(words)) = results.get(1) {
            return Err(Fault::Raise(words.to_string_lossy()));
        }
        if close {
            handle.stream.take();
        }
        Ok(Answer::Values(values(args.lua, ())?))
    })?;
    Ok(next)
}
