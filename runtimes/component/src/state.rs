//! What belongs to one instance, inside the engine's store.

use std::sync::Arc;

use lunette_hostcalls::{Ctx, task::Time};
use lunette_native::Book;
use wasmtime::component::ResourceTable;

use crate::p3::crowd::Crowd;

/// One instance's world. `Send`, for the engine wants it; nothing in it is ever sent anywhere.
pub struct State {
    pub(crate) ctx: Ctx,
    pub(crate) time: Time,
    pub(crate) table: ResourceTable,
    pub(crate) book: Book,
    /// Who waits for standard input.
    pub(crate) stdin: Arc<Crowd>,
}

impl State {
    pub fn new(ctx: Ctx, time: Time, book: Book) -> Self {
        Self { ctx, time, table: ResourceTable::new(), book, stdin: Arc::default() }
    }
}
