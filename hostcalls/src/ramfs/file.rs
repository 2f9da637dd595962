//! What a file holds: bytes that are read where they lie, overlaid by pages that were written.
//!
//! Promises: a hole costs nothing; a read of unwritten data is one copy; small writes in a row cost a
//! constant each; running out of memory or of the mount's space is [`Errno::Nospc`] after a part was
//! written, never an abort (but see `probe` in the parent for the maps themselves).

use alloc::{collections::BTreeMap, vec::Vec};

use super::{PAGE_COST, Space, probe};
use crate::Errno;

/// Bytes a page covers. All pages but the first are allocated whole; the first grows, so that
/// small files stay small.
pub(super) const PAGE: usize = 16 * 1024;
/// The longest file: what a signed 64-bit offset can reach.
pub const MAX_FILE: u64 = i64::MAX as u64;
const FIRST: usize = 64;

/// Invariants: `base.len() <= size`; no page begins at or after `size`; a page hides `base` over its
/// whole range; a page is at most [`PAGE`] long, holds nothing past `size`, and what it lacks is zeros.
#[derive(Default)]
pub(super) struct Contents {
    size: u64,
    base: &'static [u8],
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Contents {
    pub(super) fn from_base(base: &'static [u8]) -> Self {
        Self { size: base.len() as u64, base, pages: BTreeMap::new() }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What its pages were charged.
    pub(super) fn cost(&self) -> u64 {
        self.pages.values().map(page_cost).sum()
    }

    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let len = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..len];
        if self.pages.is_empty() {
            read_base(self.base, offset, buf);
            return len;
        }
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let (index, within) = split(at);
            let rest = &mut buf[done..];
            let next = self.pages.range(index..).next();
            match next {
                Some((&found, page)) if found == index => {
                    let take = rest.len().min(PAGE - within);
                    let held = page.get(within..).unwrap_or(&[]);
                    let held = &held[..held.len().min(take)];
                    rest[..held.len()].copy_from_slice(held);
                    rest[held.len()..take].fill(0);
                    done += take;
                }
                _ => {
                    let until = next.map_or(u64::MAX, |(&found, _)| found * PAGE as u64);
                    let take = usize::try_from(until - at).unwrap_or(usize::MAX).min(rest.len());
                    read_base(self.base, at, &mut rest[..take]);
                    done += take;
                }
            }
        }
        len
    }

    /// Writes what there is space for; an error only if that is nothing.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], space: &mut Space) -> Result<usize, Errno> {
        if data.is_empty() {
            return Ok(0);
        }
        let room = MAX_FILE.saturating_sub(offset);
        if room == 0 {
            return Err(Errno::Fbig);
        }
        let data = &data[..data.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let (index, within) = split(at);
            let rest = &data[done..];
            let piece = &rest[..rest.len().min(PAGE - within)];
            match self.write_page(index, within, piece, space) {
                Ok(wrote) => {
                    done += wrote;
                    self.size = self.size.max(at + wrote as u64);
                    if wrote < piece.len() {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    pub(super) fn set_size(&mut self, size: u64, space: &mut Space) -> Result<(), Errno> {
        if size > MAX_FILE {
            return Err(Errno::Fbig);
        }
        if size < self.size {
            if let Ok(size) = usize::try_from(size)
                && size < self.base.len()
            {
                self.base = &self.base[..size];
            }
            let (index, within) = split(size);
            let mut gone = self.pages.split_off(&index);
            if within > 0
                && let Some(mut page) = gone.remove(&index)
            {
                page.truncate(within);
                self.pages.insert(index, page);
            }
            space.give_back(gone.values().map(page_cost).sum());
        }
        self.size = size;
        Ok(())
    }

    /// Writes into one page as much of `data` as there is space for, at least a byte.
    fn write_page(
        &mut self,
        index: u64,
        within: usize,
        data: &[u8],
        space: &mut Space,
    ) -> Result<usize, Errno> {
        if let Some(page) = self.pages.get_mut(&index) {
            let wrote = grow(page, index, within + data.len(), space)?.saturating_sub(within);
            return put(page, within, &data[..wrote.min(data.len())]);
        }
        probe()?;
        space.take(PAGE_COST)?;
        let mut page = Vec::new();
        let wrote = (|| {
            // What lies beneath comes along, unless all of it is to be written over.
            let below = base_page(self.base, index);
            let whole = within == 0 && data.len() >= below.len();
            let below = if whole { &[][..] } else { below };
            let held = grow(&mut page, index, below.len().max(within + data.len()), space)?;
            if held <= within || held < below.len() {
                return Err(Errno::Nospc);
            }
            page.extend_from_slice(below);
            let wrote = data.len().min(held - within);
            if whole && wrote < base_page(self.base, index).len() {
                return Err(Errno::Nospc);
            }
            put(&mut page, within, &data[..wrote])
        })();
        match wrote {
            Ok(_) => {
                self.pages.insert(index, page);
            }
            Err(_) => space.give_back(page_cost(&page)),
        }
        wrote
    }
}

fn page_cost(page: &Vec<u8>) -> u64 {
    PAGE_COST + page.capacity() as u64
}

fn split(offset: u64) -> (u64, usize) {
    (offset / PAGE as u64, (offset % PAGE as u64) as usize)
}

fn read_base(base: &[u8], offset: u64, buf: &mut [u8]) {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(base.len());
    let held = &base[from..][..buf.len().min(base.len() - from)];
    buf[..held.len()].copy_from_slice(held);
    buf[held.len()..].fill(0);
}

/// The part of `base` that this page would hide.
fn base_page(base: &'static [u8], index: u64) -> &'static [u8] {
    let from = index.saturating_mul(PAGE as u64);
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(base.len());
    &base[from..][..(base.len() - from).min(PAGE)]
}

/// Makes room for `needed` bytes in all, or for as many as the space allows; says for how many.
/// An error only if no byte could be added.
fn grow(page: &mut Vec<u8>, index: u64, needed: usize, space: &mut Space) -> Result<usize, Errno> {
    let old = page.capacity();
    if needed <= old {
        return Ok(needed);
    }
    let wish = if index == 0 { needed.max(old * 2).clamp(FIRST, PAGE) } else { PAGE };
    let room = usize::try_from(space.left()).unwrap_or(usize::MAX);
    let capacity = wish.min(old.saturating_add(room));
    if capacity <= old || page.try_reserve_exact(capacity - page.len()).is_err() {
        // What was reserved before is still good.
        return if old > page.len() { Ok(old.min(needed)) } else { Err(Errno::Nospc) };
    }
    space.take_anyway((page.capacity() - old) as u64);
    Ok(capacity.min(needed))
}

/// Writes within the page's capacity.
fn put(page: &mut Vec<u8>, within: usize, data: &[u8]) -> Result<usize, Errno> {
    if data.is_empty() {
        return Err(Errno::Nospc);
    }
    if within > page.len() {
        page.resize(within, 0);
    }
    let over = data.len().min(page.len() - within);
    page[within..within + over].copy_from_slice(&data[..over]);
    page.extend_from_slice(&data[over..]);
    Ok(data.len())
}
