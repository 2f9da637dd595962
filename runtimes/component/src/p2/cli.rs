//! `wasi:cli`: arguments, environment, the program's end, its standard streams and whether a person is there.

use lunette_hostcalls::Stream;
use lunette_native::trap::Exit;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    bindings::wasi::cli::{
        environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr,
        terminal_stdin, terminal_stdout,
    },
    stdio::{Input, Output},
};
use crate::{State, terminal::Terminal};

impl environment::Host for State {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(self.ctx.env.clone())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(self.ctx.args.clone())
    }

    /// The root, where a program has one.
    fn initial_cwd(&mut self) -> Result<Option<String>> {
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

impl stdin::Host for State {
    fn get_stdin(&mut self) -> Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(Input::new(self.ctx.stdio.clone()));
        Ok(self.table.push(stream)?)
    }
}

impl stdout::Host for State {
    fn get_stdout(&mut self) -> Result<Resource<DynOutputStream>> {
        self.output(Stream::Out)
    }
}

impl stderr::Host for State {
    fn get_stderr(&mut self) -> Result<Resource<DynOutputStream>> {
        self.output(Stream::Err)
    }
}

impl State {
    fn output(&mut self, which: Stream) -> Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Output::new(self.ctx.stdio.clone(), which));
        Ok(self.table.push(stream)?)
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
