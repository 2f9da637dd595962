//! Which address ranges are in use, and for what.
//!
//! A treap (binary search tree by address, heap by random priority) whose nodes know the span and the
//! widest gap below them. Finding an area, splitting, and finding the lowest gap that is wide enough
//! all take a few dozen steps with thousands of areas: wasmtime's default pool alone makes 2,028.
//! Nodes live in a [`Slab`] of 64 bytes each, 32,768 at most.
//!
//! Addresses are handed out lowest first, so they are reused soon and page tables stay few.

use core::{cmp::Ordering, ops::Range};

use super::{
    frames::Frames,
    paging::{PAGE, Prot},
    slab::Slab,
};

/// Shared with others who map the same object: writes go to the object.
pub(crate) const SHARED: u8 = 1;
/// Not counted by the commit rule.
pub(crate) const NO_RESERVE: u8 = 2;

/// A range of addresses with one protection and one backing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) prot: Prot,
    pub(crate) flags: u8,
    /// The memory object behind it; 0 for anonymous memory.
    pub(crate) object: u32,
    /// Which page of the object `start` is.
    pub(crate) offset: u32,
}

impl Area {
    pub(crate) fn pages(&self) -> u64 {
        (self.end - self.start) / PAGE
    }

    /// Does the commit rule count its pages?
    pub(crate) fn charged(&self) -> bool {
        self.prot.writable() && self.flags & (SHARED | NO_RESERVE) == 0
    }

    /// The object's page at this address.
    pub(crate) fn object_page(&self, addr: u64) -> u64 {
        u64::from(self.offset) + (addr - self.start) / PAGE
    }

    /// The part of it within a range that overlaps it.
    pub(crate) fn cut(&self, range: Range<u64>) -> Self {
        let start = range.start.max(self.start);
        let offset = if self.object == 0 { 0 } else { self.object_page(start) as u32 };
        Self { start, end: range.end.min(self.end), offset, ..*self }
    }

    fn continues_in(&self, next: &Self) -> bool {
        self.end == next.start
            && (self.prot, self.flags, self.object) == (next.prot, next.flags, next.object)
            && (self.object == 0 || self.object_page(self.end) == u64::from(next.offset))
    }
}

#[derive(Clone, Copy)]
struct Node {
    start: u64,
    end: u64,
    /// The lowest start, the highest end and the widest gap in the subtree.
    low: u64,
    high: u64,
    gap: u64,
    left: u32,
    right: u32,
    object: u32,
    offset: u32,
    priority: u16,
    prot: Prot,
    flags: u8,
}

pub(crate) struct Areas {
    nodes: Slab<Node>,
    root: u32,
    random: u32,
    /// Nodes looked at, for tests that count steps and not time.
    #[cfg(test)]
    pub(crate) steps: core::cell::Cell<u64>,
}

impl Areas {
    pub(crate) const fn new() -> Self {
        const { assert!(size_of::<Node>() == 64) };
        Self {
            nodes: Slab::new(),
            root: 0,
            random: 0x9e37_79b9,
            #[cfg(test)]
            steps: core::cell::Cell::new(0),
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.nodes.live()
    }

    pub(crate) fn node_frames(&self) -> u64 {
        self.nodes.frames()
    }

    /// Room for this many more areas; `false` is out of memory (or of the 32,768).
    #[must_use]
    pub(crate) fn reserve(&mut self, count: u32, frames: &mut Frames) -> bool {
        self.nodes.reserve(count, frames)
    }

    pub(crate) fn trim(&mut self, frames: &mut Frames) {
        self.nodes.trim(frames);
    }

    /// The area that contains this address.
    #[inline]
    pub(crate) fn find(&self, addr: u64) -> Option<Area> {
        let mut at = self.root;
        while at != 0 {
            let node = self.node(at);
            if addr < node.start {
                at = node.left;
            } else if addr >= node.end {
                at = node.right;
            } else {
                return Some(self.area(at));
            }
        }
        None
    }

    /// The first area that ends above this address.
    pub(crate) fn next(&self, addr: u64) -> Option<Area> {
        let (mut at, mut best) = (self.root, 0);
        while at != 0 {
            let node = self.node(at);
            if node.end > addr {
                best = at;
                at = node.left;
            } else {
                at = node.right;
            }
        }
        (best != 0).then(|| self.area(best))
    }

    /// The areas that overlap a range, in order, whole.
    pub(crate) fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = Area> + '_ {
        let mut from = range.start;
        core::iter::from_fn(move || {
            let area = self.next(from).filter(|area| area.start < range.end)?;
            from = area.end;
            Some(area)
        })
    }

    /// The lowest address in `within` from which `len` bytes are free, at a multiple of `align`.
    pub(crate) fn find_gap(&self, len: u64, align: u64, within: Range<u64>) -> Option<u64> {
        let up = |addr: u64| addr.checked_next_multiple_of(align);
        let fits =
            |from: u64, to: u64| up(from).filter(|at| at.checked_add(len).is_some_and(|end| end <= to));
        // Any gap this wide holds an aligned range. (One that is narrower may as well, but finding it
        // would mean looking at all of them.)
        let need = len.checked_add(align - PAGE)?;
        if self.root == 0 {
            return fits(within.start, within.end);
        }
        let root = *self.node(self.root);
        if let Some(at) = fits(within.start, root.low) {
            return Some(at);
        }
        if root.gap < need {
            return fits(root.high.max(within.start), within.end);
        }
        let mut at = self.root;
        loop {
            let node = *self.node(at);
            if node.left != 0 {
                let left = self.node(node.left);
                if left.gap >= need {
                    at = node.left;
                    continue;
                }
                if node.start - left.high >= need {
                    return up(left.high);
                }
            }
            if node.right != 0 && self.node(node.right).low - node.end >= need {
                return up(node.end);
            }
            at = node.right;
        }
    }

    /// Adds an area where none is; joins it with its neighbours where they are alike. Room for one must
    /// have been reserved. Answers how many areas disappeared by joining (0 to 2).
    pub(crate) fn insert(&mut self, area: Area) -> u32 {
        let mut area = area;
        let mut joined = 0;
        if let Some(after) = self.find(area.end).filter(|after| area.continues_in(after)) {
            self.remove(after.start);
            area.end = after.end;
            joined += 1;
        }
        match self.find(area.start.wrapping_sub(1)).filter(|before| before.continues_in(&area)) {
            Some(before) => {
                self.set_end(before.start, area.end);
                joined += 1;
            }
            None => self.insert_alone(area),
        }
        joined
    }

    /// Adds an area without looking at its neighbours.
    fn insert_alone(&mut self, area: Area) {
        debug_assert!(area.start < area.end);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let Area { start, end, prot, flags, object, offset } = area;
        let id = self.nodes.insert(Node {
            start,
            end,
            low: start,
            high: end,
            gap: 0,
            left: 0,
            right: 0,
            object,
            offset,
            priority: (self.random >> 8) as u16,
            prot,
            flags,
        });
        self.root = self.insert_below(self.root, id);
    }

    /// Takes out the area that starts here.
    pub(crate) fn remove(&mut self, start: u64) -> Option<Area> {
        let found = self.find(start).filter(|area| area.start == start)?;
        self.root = self.remove_below(self.root, start);
        Some(found)
    }

    /// Takes out all areas that start in the range, in order, and calls `gone` for each.
    pub(crate) fn remove_all(&mut self, range: Range<u64>, gone: &mut impl FnMut(Area)) {
        if let Some(only) = self.find(range.start).filter(|area| (area.start..area.end) == range) {
            self.root = self.remove_below(self.root, only.start);
            return gone(only);
        }
        let (below, rest) = self.split(self.root, range.start);
        let (middle, above) = self.split(rest, range.end);
        self.root = self.merge(below, above);
        self.remove_tree(middle, gone);
    }

    fn remove_tree(&mut self, at: u32, gone: &mut impl FnMut(Area)) {
        if at == 0 {
            return;
        }
        let &Node { left, right, .. } = self.node(at);
        self.remove_tree(left, gone);
        gone(self.area(at));
        self.nodes.remove(at);
        self.remove_tree(right, gone);
    }

    /// Changes the protection of the area that starts here, if it then joins no neighbour; else nothing.
    pub(crate) fn set_prot_alone(&mut self, start: u64, prot: Prot) -> bool {
        let Some(area) = self.find(start).filter(|area| area.start == start) else { return false };
        let new = Area { prot, ..area };
        if self.find(new.end).is_some_and(|after| new.continues_in(&after))
            || self.find(start.wrapping_sub(1)).is_some_and(|before| before.continues_in(&new))
        {
            return false;
        }
        let mut at = self.root;
        while at != 0 {
            let node = self.nodes.get_mut(at);
            match start.cmp(&node.start) {
                Ordering::Less => at = node.left,
                Ordering::Greater => at = node.right,
                Ordering::Equal => {
                    node.prot = prot;
                    return true;
                }
            }
        }
        false
    }

    /// Makes `at` a border between areas. Room for one must have been reserved. If it split one, the
    /// answer is its object.
    pub(crate) fn split_at(&mut self, at: u64) -> Option<u32> {
        let area = self.find(at).filter(|area| area.start < at)?;
        self.set_end(area.start, at);
        self.insert_alone(area.cut(at..area.end));
        Some(area.object)
    }

    /// Moves the end of the area that starts here, to where nothing is in the way.
    fn set_end(&mut self, start: u64, end: u64) {
        self.set_end_below(self.root, start, end);
    }

    fn set_end_below(&mut self, at: u32, start: u64, end: u64) {
        let node = self.node(at);
        let (here, left, right) = (node.start, node.left, node.right);
        if start == here {
            self.nodes.get_mut(at).end = end;
        } else {
            self.set_end_below(if start < here { left } else { right }, start, end);
        }
        self.pull(at);
    }

    #[inline]
    fn node(&self, id: u32) -> &Node {
        #[cfg(test)]
        self.steps.set(self.steps.get() + 1);
        self.nodes.get(id)
    }

    fn area(&self, id: u32) -> Area {
        let &Node { start, end, prot, flags, object, offset, .. } = self.nodes.get(id);
        Area { start, end, prot, flags, object, offset }
    }

    fn insert_below(&mut self, at: u32, new: u32) -> u32 {
        if at == 0 {
            return new;
        }
        let &Node { start: key, priority, .. } = self.node(new);
        let here = self.node(at);
        let (start, left, right) = (here.start, here.left, here.right);
        if priority > here.priority {
            let (left, right) = self.split(at, key);
            let node = self.nodes.get_mut(new);
            (node.left, node.right) = (left, right);
            self.pull(new);
            return new;
        }
        if key < start {
            let left = self.insert_below(left, new);
            self.nodes.get_mut(at).left = left;
        } else {
            let right = self.insert_below(right, new);
            self.nodes.get_mut(at).right = right;
        }
        self.pull(at);
        at
    }

    fn remove_below(&mut self, at: u32, start: u64) -> u32 {
        let node = self.node(at);
        let (here, left, right) = (node.start, node.left, node.right);
        if start == here {
            self.nodes.remove(at);
            return self.merge(left, right);
        }
        if start < here {
            let left = self.remove_below(left, start);
            self.nodes.get_mut(at).left = left;
        } else {
            let right = self.remove_below(right, start);
            self.nodes.get_mut(at).right = right;
        }
        self.pull(at);
        at
    }

    /// Divides a subtree into what starts below `key` and the rest.
    fn split(&mut self, at: u32, key: u64) -> (u32, u32) {
        if at == 0 {
            return (0, 0);
        }
        let here = self.node(at);
        let (left, right) = (here.left, here.right);
        if here.start < key {
            let (left, right) = self.split(right, key);
            self.nodes.get_mut(at).right = left;
            self.pull(at);
            (at, right)
        } else {
            let (left, right) = self.split(left, key);
            self.nodes.get_mut(at).left = right;
            self.pull(at);
            (left, at)
        }
    }

    /// Joins two subtrees, all of the first below all of the second.
    fn merge(&mut self, first: u32, second: u32) -> u32 {
        if first == 0 || second == 0 {
            return first | second;
        }
        let (a, b) = (self.node(first), self.node(second));
        let (inner_right, inner_left) = (a.right, b.left);
        if a.priority > b.priority {
            let right = self.merge(inner_right, second);
            self.nodes.get_mut(first).right = right;
            self.pull(first);
            first
        } else {
            let left = self.merge(first, inner_left);
            self.nodes.get_mut(second).left = left;
            self.pull(second);
            second
        }
    }

    /// Works out a node's span and gap from its children.
    fn pull(&mut self, at: u32) {
        let here = self.node(at);
        let (mut low, mut high, mut gap) = (here.start, here.end, 0);
        if here.left != 0 {
            let left = self.node(here.left);
            low = left.low;
            gap = left.gap.max(here.start - left.high);
        }
        if here.right != 0 {
            let right = self.node(here.right);
            high = right.high;
            gap = gap.max(right.gap).max(right.low - here.end);
        }
        let node = self.nodes.get_mut(at);
        (node.low, node.high, node.gap) = (low, high, gap);
    }
}
