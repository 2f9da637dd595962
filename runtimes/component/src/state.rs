//! What belongs to one instance, inside the engine's store.

use lunette_hostcalls::{Ctx, task::Time};
use lunette_native::Book;
use wasmtime::component::ResourceTable;

use crate::http::Http;

/// One instance's world. `Send`, for the engine wants it; nothing in it is ever sent anywhere.
pub struct State {
    pub(crate) ctx: Ctx,
    pub(crate) time: Time,
    pub(crate) table: ResourceTable,
    pub(crate) book: Book,
    pub(crate) http: Http,
}

impl State {
    pub fn new(ctx: Ctx, time: Time, book: Book) -> Self {
        Self { ctx, time, table: ResourceTable::new(), book, http: Http::default() }
    }
}
