//! What belongs to one instance, inside the engine's store.

use std::sync::Arc;

use lunette_hostcalls::{Ctx, task::Time};
use lunette_native::Book;
use wasmtime::component::ResourceTable;

use crate::{http::Http, listeners::Claims, p2::keyvalue::Store, p3::crowd::Crowd};

/// How many resources of ours an instance may have: as many as a guest of preview 1 may have descriptors.
pub const MAX_RESOURCES: usize = 65_536;

/// One instance's world. `Send`, for the engine wants it; nothing in it is ever sent anywhere.
pub struct State {
    pub(crate) ctx: Ctx,
    pub(crate) time: Time,
    pub(crate) table: ResourceTable,
    pub(crate) book: Book,
    pub(crate) http: Http,
    /// Which of `ctx.listeners` are in use.
    pub(crate) claims: Claims,
    /// What `wasi:keyvalue` keeps.
    pub(crate) values: Store,
    /// Who waits for standard input.
    pub(crate) stdin: Arc<Crowd>,
    /// What `wasi:random/insecure-seed` answers, once it was asked.
    pub(crate) seed: Option<(u64, u64)>,
}

impl State {
    pub fn new(ctx: Ctx, time: Time, book: Book) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            ctx,
            time,
            table,
            book,
            http: Http::default(),
            claims: Claims::new(),
            values: Store::default(),
            stdin: Arc::default(),
            seed: None,
        }
    }

    /// Closes all that is open, when the guest is at its end.
    pub(crate) fn close(&mut self) {
        self.table = ResourceTable::new();
        self.ctx.listeners.clear();
    }
}
