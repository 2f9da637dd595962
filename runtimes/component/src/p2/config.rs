//! `wasi:config/store`: what a program is told about where it runs. It is the environment's variables: there is no
//! second table to fill in.

use wasmtime::Result as Answer;

use super::bindings::wasi::config::store::{Error, Host};
use crate::State;

impl Host for State {
    fn get(&mut self, key: String) -> Answer<Result<Option<String>, Error>> {
        let found = self.ctx.env.iter().find(|(name, _)| *name == key);
        Ok(Ok(found.map(|(_, value)| value.clone())))
    }

    fn get_all(&mut self) -> Answer<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self.ctx.env.clone()))
    }
}
