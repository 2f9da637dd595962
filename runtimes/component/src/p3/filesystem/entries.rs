//! A directory's entries as a stream. What is added or removed meanwhile may be in it or not; what stays is in it once.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use lunette_hostcalls::Errno;
use wasmtime::{
    Result, StoreContextMut,
    component::{Destination, StreamProducer, StreamReader, StreamResult, VecBuffer},
};

use super::descriptor::{Descriptor, kind};
use crate::{
    State,
    files::Held,
    p3::{
        bindings::wasi::filesystem::types::{DirectoryEntry, ErrorCode},
        stream::{Produced, Verdict, verdict},
    },
};

/// How many entries are handed over at once, whatever the reader has room for.
const MAX_ENTRIES: usize = 64;

impl Descriptor {
    pub(super) fn listing(&self) -> Result<Listing, Errno> {
        Ok(Listing { held: self.directory()?.clone(), cookie: 0 })
    }
}

pub(super) struct Listing {
    held: Held,
    cookie: u64,
}

impl Listing {
    fn next(&mut self) -> Result<Option<DirectoryEntry>, Errno> {
        let Some((of, name, cookie)) = self.held.entry_after(self.cookie)? else { return Ok(None) };
        self.cookie = cookie;
        Ok(Some(DirectoryEntry { type_: kind(of), name }))
    }
}

pub(super) fn read(
    mut store: StoreContextMut<'_, State>,
    listing: Result<Listing, Errno>,
) -> Result<Produced<DirectoryEntry, ErrorCode>> {
    let (mut verdict, outcome) = verdict();
    let listing = listing.map_err(|errno| verdict.tell(errno)).ok();
    let stream = StreamReader::new(&mut store, Entries { listing, verdict })?;
    Ok((stream, outcome.future(store)?))
}

struct Entries {
    /// `None`: there are no more.
    listing: Option<Listing>,
    verdict: Verdict,
}

impl StreamProducer<State> for Entries {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, DirectoryEntry, Self::Buffer>,
        _: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        let most = destination.remaining(&mut store).unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
        let mut entries = Vec::with_capacity(most);
        while let Some(listing) = &mut this.listing
            && entries.len() < most
        {
            match listing.next() {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => this.listing = None,
                Err(errno) => {
                    this.verdict.tell(errno);
                    this.listing = None;
                }
            }
        }
        destination.set_buffer(entries.into());
        if this.listing.is_some() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        this.verdict.close();
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}
