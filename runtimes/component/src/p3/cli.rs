//! `wasi:cli`: arguments, environment, the program's end, its standard streams and whether a person is there.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use lunette_hostcalls::{Errno, Stdio, Stream};
use lunette_native::trap::Exit;
use wasmtime::{
    AsContextMut, Result,
    component::{Access, HasSelf, Resource, StreamReader},
};

use super::{
    bindings::wasi::cli::{
        environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr,
        terminal_stdin, terminal_stdout,
        types::{self, ErrorCode},
    },
    crowd::Member,
    stream::{self, ByteSink, ByteSource, MAX_STREAM, Outcome, Produced},
};
use crate::{State, terminal::Terminal};

impl types::Host for State {}

impl environment::Host for State {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(self.ctx.env.clone())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(self.ctx.args.clone())
    }

    /// The root, where a program has one.
    fn get_initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(self.ctx.preopens.iter().any(|preopen| preopen.name == "/").then(|| "/".to_owned()))
    }
}

impl exit::Host for State {
    fn exit(&mut self, status: Result<(), ()>) -> Result<()> {
        Err(Exit(status.is_err().into()).into())
    }

    fn exit_with_code(&mut self, code: u8) -> Result<()> {
        Err(Exit(code.into()).into())
    }
}

impl From<Errno> for ErrorCode {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::Pipe => Self::Pipe,
            Errno::Ilseq => Self::IllegalByteSequence,
            _ => Self::Io,
        }
    }
}

impl stdin::Host for State {}

impl stdin::HostWithStore<State> for HasSelf<State> {
    /// Several streams may read at once: each byte goes to one of them.
    fn read_via_stream(mut store: Access<'_, State, Self>) -> Result<Produced<u8, ErrorCode>> {
        let state = store.get();
        let input = Input { stdio: state.ctx.stdio.clone(), member: state.stdin.join() };
        stream::read(store.as_context_mut(), Ok(Box::new(input)))
    }
}

struct Input {
    stdio: Arc<dyn Stdio>,
    member: Member,
}

impl Input {
    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        self.stdio.register_input(&self.member.wait(cx));
        Poll::Pending
    }
}

impl ByteSource for Input {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, Errno>> {
        if buf.is_empty() {
            return if self.stdio.input().any() { Poll::Ready(Ok(0)) } else { self.wait(cx) };
        }
        let most = buf.len().min(MAX_STREAM);
        match self.stdio.read(&mut buf[..most]) {
            Err(Errno::Again) => self.wait(cx),
            read => Poll::Ready(read),
        }
    }
}

impl stdout::Host for State {}

impl stdout::HostWithStore<State> for HasSelf<State> {
    fn write_via_stream(
        store: Access<'_, State, Self>,
        data: StreamReader<u8>,
    ) -> Result<Outcome<ErrorCode>> {
        output(store, data, Stream::Out)
    }
}

impl stderr::Host for State {}

impl stderr::HostWithStore<State> for HasSelf<State> {
    fn write_via_stream(
        store: Access<'_, State, Self>,
        data: StreamReader<u8>,
    ) -> Result<Outcome<ErrorCode>> {
        output(store, data, Stream::Err)
    }
}

fn output(
    mut store: Access<'_, State, HasSelf<State>>,
    data: StreamReader<u8>,
    which: Stream,
) -> Result<Outcome<ErrorCode>> {
    let stdio = store.get().ctx.stdio.clone();
    stream::write(store.as_context_mut(), data, Ok(Box::new(Output { stdio, which })))
}

struct Output {
    stdio: Arc<dyn Stdio>,
    which: Stream,
}

impl ByteSink for Output {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Errno>> {
        let bytes = &bytes[..bytes.len().min(MAX_STREAM)];
        let mut written = 0;
        while written < bytes.len() {
            match self.stdio.write(self.which, &bytes[written..]) {
                Ok(0) => break,
                Ok(n) => written = written.saturating_add(n).min(bytes.len()),
                // Told when nothing else is: the next time.
                Err(_) if written > 0 => break,
                Err(Errno::Again) => {
                    // Nobody says when there is room again: let the world go on, and ask.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(errno) => return Poll::Ready(Err(errno)),
            }
        }
        Poll::Ready(Ok(written))
    }
}

impl terminal_input::Host for State {}
impl terminal_output::Host for State {}

impl terminal_input::HostTerminalInput for State {
    fn drop(&mut self, terminal: Resource<Terminal>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::HostTerminalOutput for State {
    fn drop(&mut self, terminal: Resource<Terminal>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_stdin::Host for State {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<Terminal>>> {
        self.terminal()
    }
}

impl terminal_stdout::Host for State {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<Terminal>>> {
        self.terminal()
    }
}

impl terminal_stderr::Host for State {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<Terminal>>> {
        self.terminal()
    }
}
