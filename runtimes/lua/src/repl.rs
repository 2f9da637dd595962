//! A prompt in a running service: lines from standard input are evaluated in its state, as the program `lua` does it.
//!
//! An expression's values are printed; a statement that is not complete goes on in the next line; an error is told with
//! its traceback and ends nothing; what is evaluated may wait, and the service goes on meanwhile. It ends with the input.
//!
//! Not here: editing and history, which are the terminal's.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
};

use lunette_hostcalls::{Errno, Stream};
use mlua::{Function, Lua, MultiValue};

use crate::{
    failures::Failure,
    tasks,
    world::{Stopped, World},
};

/// How long what is not complete may become.
const MAX_CHUNK: usize = 1 << 20;

/// To be spawned as a task of ours.
pub(crate) async fn run(lua: Lua, world: Rc<World>) {
    let mut input = Input { world: &world, stopped: pin!(world.stopped()), rest: Vec::new() };
    loop {
        let Some(first) = input.line("> ").await else { break };
        let mut chunk = first;
        let function = loop {
            match compile(&lua, &chunk) {
                Ok(function) => break Some(function),
                Err(mlua::Error::SyntaxError { incomplete_input: true, .. }) if chunk.len() < MAX_CHUNK => {
                    let Some(more) = input.line(">> ").await else { break None };
                    chunk.push(b'\n');
                    chunk.extend_from_slice(&more);
                }
                Err(error) => {
                    world.say(&Failure::of(&error).message);
                    break None;
                }
            }
        };
        let Some(function) = function else { continue };
        match tasks::call_chunk(world.clone(), function, ()).await {
            Ok(values) => show(&lua, &world, values),
            Err(error) => world.say(&Failure::of(&error).to_string()),
        }
    }
    // The line of the prompt ends.
    write(&world, b"\n");
}

/// First as an expression, then as a statement.
fn compile(lua: &Lua, chunk: &[u8]) -> mlua::Result<Function> {
    let chunk = chunk.strip_prefix(b"=").unwrap_or(chunk);
    let load = |text: &[u8]| {
        lua.load(text).set_name("=stdin").set_mode(mlua::chunk::ChunkMode::Text).into_function()
    };
    load(&[b"return ", chunk].concat()).or_else(|_| load(chunk))
}

/// By the script's own `print`, as `lua` does.
fn show(lua: &Lua, world: &World, values: MultiValue) {
    if values.is_empty() {
        return;
    }
    let shown = lua.globals().get::<Function>("print").and_then(|print| print.call::<()>(values));
    if let Err(error) = shown {
        world.say(&format!("error calling 'print' ({})", Failure::of(&error).message));
    }
}

fn write(world: &World, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match world.ctx.stdio.write(Stream::Out, bytes) {
            Ok(n) if n > 0 => bytes = &bytes[n..],
            _ => return,
        }
    }
}

struct Input<'a> {
    world: &'a World,
    stopped: Pin<&'a mut Stopped>,
    /// Read, and not yet a line.
    rest: Vec<u8>,
}

impl Input<'_> {
    /// The next line, without its end. `None`: there is none, or the service is being stopped.
    async fn line(&mut self, prompt: &str) -> Option<Vec<u8>> {
        write(self.world, prompt.as_bytes());
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<_> = self.rest.drain(..=end).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Some(line);
            }
            if self.rest.len() > MAX_CHUNK {
                self.rest.clear();
                self.world.say("the line is too long");
            }
            let mut buffer = [0; 512];
            let read = poll_fn(|cx| {
                if self.stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(0);
                }
                let stdio = &self.world.ctx.stdio;
                match stdio.read(&mut buffer) {
                    Err(Errno::Again) => {
                        stdio.register_input(cx.waker());
                        Poll::Pending
                    }
                    answer => Poll::Ready(answer.unwrap_or(0)),
                }
            })
            .await;
            if read == 0 {
                return (!self.rest.is_empty()).then(|| std::mem::take(&mut self.rest));
            }
            self.rest.extend_from_slice(&buffer[..read]);
        }
    }
}
