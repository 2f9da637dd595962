//! Usable memory: a short list of address ranges, none of which has anything in common with another.

use core::ops::Range;

/// The most regions that are kept: the largest (a hypervisor reports one to four, EFI's map is in pieces).
const MAX_REGIONS: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Regions {
    list: [Range<u64>; MAX_REGIONS],
    len: usize,
}

impl Regions {
    /// Usable memory as it is told: whole pages only.
    pub(super) fn tell(&mut self, at: u64, length: u64) {
        if let Some(start) = at.checked_next_multiple_of(4096) {
            self.push(start..at.saturating_add(length) & !0xfff);
        }
    }

    /// Adds what of a range is not in it yet: a page that is there twice would be given to two.
    fn push(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        let twice = self.as_slice().iter().find(|known| known.start < range.end && range.start < known.end);
        if let Some(twice) = twice.cloned() {
            self.push(range.start..twice.start);
            return self.push(twice.end..range.end);
        }
        let (known, free) = self.list.split_at_mut(self.len);
        if let Some(before) = known.last_mut().filter(|before| before.end == range.start) {
            before.end = range.end;
        } else if let Some(slot) = free.first_mut() {
            *slot = range;
            self.len += 1;
        } else if let Some(least) = known.iter_mut().min_by_key(|known| known.end - known.start)
            && least.end - least.start < range.end - range.start
        {
            *least = range;
        }
    }

    /// Takes `hole` out of every range.
    pub fn remove(&mut self, hole: Range<u64>) {
        let old = core::mem::take(self);
        for range in old.iter() {
            self.push(range.start..range.end.min(hole.start));
            self.push(range.start.max(hole.end)..range.end);
        }
    }

    pub fn as_slice(&self) -> &[Range<u64>] {
        &self.list[..self.len]
    }

    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.list[..self.len].iter().cloned()
    }

    pub fn total(&self) -> u64 {
        self.iter().map(|r| r.end - r.start).sum()
    }
}
