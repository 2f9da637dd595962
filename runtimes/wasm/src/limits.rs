//! What a guest may use up, and the book that is kept about it.

use lunette_hostcalls::Nanos;
use wasmi::{
    ResourceLimiter,
    errors::{MemoryError, TableError},
};
use wasmi_core::LimiterError;

/// What one guest may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, all memories together. Growing beyond answers -1 to the guest; a module that
    /// needs more from the start is refused.
    pub memory: u64,
    /// Elements of tables, all tables together. As with memory.
    pub table_elements: u64,
    /// How long it may take, waiting included, by the monotonic clock.
    pub time: Option<Nanos>,
    /// How much it may execute, in the engine's units ([`crate::engine`]).
    pub fuel: Option<u64>,
    /// Is it to give way now and then, though it has no limit of time or fuel? For guests that share a machine.
    pub slices: bool,
}

impl Default for Limits {
    /// 64 MiB, a million table elements, as long as it likes and without a pause.
    fn default() -> Self {
        Self { memory: 64 << 20, table_elements: 1_000_000, time: None, fuel: None, slices: false }
    }
}

impl Limits {
    pub(crate) fn metering(&self) -> bool {
        self.slices || self.time.is_some() || self.fuel.is_some()
    }
}

/// How many memories and tables a module may have: each has a cost that its size doesn't show.
const MAX_MEMORIES: usize = 100;
const MAX_TABLES: usize = 1000;

/// What is in use, as the engine reports it.
#[derive(Debug)]
pub(crate) struct Book {
    memory: Account,
    table: Account,
}

/// How much of one thing is used, of what may be. Engines ask and tell it, each in its own way.
#[derive(Debug)]
pub struct Account {
    pub used: u64,
    pub allowed: u64,
    /// The growth that was granted last, to be taken back should it fail.
    last: u64,
    /// What was asked for in all when it was denied.
    pub denied: Option<u64>,
}

impl Account {
    pub fn new(allowed: u64) -> Self {
        Self { used: 0, allowed, last: 0, denied: None }
    }

    /// May it grow from `current` to `desired`? What it may is written down.
    pub fn grow(&mut self, current: usize, desired: usize) -> bool {
        let more = desired.saturating_sub(current) as u64;
        let sum = self.used.saturating_add(more);
        if sum > self.allowed {
            self.denied = Some(sum);
            return false;
        }
        (self.used, self.last) = (sum, more);
        true
    }

    /// The growth that was granted last did not come about.
    pub fn take_back(&mut self) {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.last));
    }
}

impl Book {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { memory: Account::new(limits.memory), table: Account::new(limits.table_elements) }
    }

    pub(crate) fn memory(&self) -> &Account {
        &self.memory
    }

    pub(crate) fn table(&self) -> &Account {
        &self.table
    }
}

impl ResourceLimiter for Book {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool, LimiterError> {
        Ok(self.memory.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool, LimiterError> {
        Ok(self.table.grow(current, desired))
    }

    fn memory_grow_failed(&mut self, _: &MemoryError) -> Result<(), LimiterError> {
        self.memory.take_back();
        Ok(())
    }

    fn table_grow_failed(&mut self, _: &TableError) -> Result<(), LimiterError> {
        self.table.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
