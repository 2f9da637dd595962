//! What a guest may use up, and the book that is kept about it.

use lunette_hostcalls::{Trap, TrapKind};
use lunette_wasm::Account;
use wasmtime::ResourceLimiter;

use crate::trap::HostTrap;

/// What one guest may have. Time and fuel are the [`Meter`](crate::Meter)'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, all memories together. Growing beyond answers -1 to the guest; a program that needs more
    /// from the start is refused.
    pub memory: u64,
    /// Elements of tables, all tables together. As with memory.
    pub table_elements: u64,
}

impl Default for Limits {
    /// 64 MiB, a million table elements.
    fn default() -> Self {
        Self { memory: 64 << 20, table_elements: 1_000_000 }
    }
}

/// How many of each a guest may have: each has a cost that its size doesn't show. Components are many modules.
const MAX_INSTANCES: usize = 1000;
const MAX_MEMORIES: usize = 100;
const MAX_TABLES: usize = 1000;

/// What is in use, as the engine reports it.
#[derive(Debug)]
pub struct Book {
    memory: Account,
    table: Account,
}

impl Book {
    pub fn new(limits: Limits) -> Self {
        Self { memory: Account::new(limits.memory), table: Account::new(limits.table_elements) }
    }

    pub fn memory(&self) -> &Account {
        &self.memory
    }

    /// Why an instance could not be made: a guest that needs more than it may have has a trap that says so.
    pub fn explain(&self, error: wasmtime::Error) -> wasmtime::Error {
        let words = match (self.memory.denied, self.table.denied) {
            (Some(needs), _) => {
                format!("it needs {} KiB of memory, and may have {}", needs >> 10, self.memory.allowed >> 10)
            }
            (None, Some(needs)) => {
                format!("it needs {needs} table elements, and may have {}", self.table.allowed)
            }
            (None, None) => return error,
        };
        HostTrap(Trap { kind: TrapKind::OutOfMemory, message: words, backtrace: Vec::new() }).into()
    }
}

impl ResourceLimiter for Book {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.memory.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.table.grow(current, desired))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.table.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
