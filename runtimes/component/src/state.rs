//! What belongs to one instance, inside the engine's store.

use std::sync::Arc;

use lunette_hostcalls::{Ctx, task::Time};
use lunette_native::Book;
use wasmtime::component::ResourceTable;

use crate::{listeners::Claims, p3::crowd::Crowd};

/// One instance's world. `Send`, for the engine wants it; nothing in it is ever sent anywhere.
pub struct State {
    pub(crate) ctx: Ctx,
    pub(crate) time: Time,
    pub(crate) table: ResourceTable,
    pub(crate) book: Book,
    /// Which of `ctx.listeners` are in use.
    pub(crate) claims: Claims,
    /// Who waits for standard input.
    pub(crate) stdin: Arc<Crowd>,
}

impl State {
    pub fn new(ctx: Ctx, time: Time, book: Book) -> Self {
        Self { ctx, time, table: ResourceTable::new(), book, claims: Claims::new(), stdin: Arc::default() }
    }
}
