//! Page tables of four levels (Intel SDM volume 3, 4.5).
//!
//! Promises: walks skip absent subtrees, so a reservation of terabytes costs nothing; a table that
//! becomes empty is given back at once; nothing is ever mapped both writable and executable ([`leaf`]
//! refuses); what the CPU may have cached is invalidated through [`Tlb`].
//!
//! How a table is known to be empty: the entry that points to it counts the child's entries in use, in
//! bits that the CPU ignores (52 to 61). Leaves of ours use two such bits as well: [`BORROWED`], the
//! frame belongs to a memory object, and [`KEPT`], the page is not accessible now but its frame is.
//!
//! A memory object (see [`super::object`]) keeps its pages in such a tree too; no CPU ever looks at it.

use core::ops::Range;

use super::frames::{FRAME, Floor, Frames, PhysAddr, zero};

pub const PAGE: u64 = FRAME;
/// A page of the identity map.
pub const LARGE_PAGE: u64 = 2 << 20;

pub const PRESENT: u64 = 1;
pub const WRITABLE: u64 = 1 << 1;
pub const WRITE_THROUGH: u64 = 1 << 3;
pub const CACHE_DISABLE: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
/// The frame is a memory object's: not freed with the page, and never written through a private mapping.
/// (The payload's frames, lent to objects, are writable in the identity map all the same: that is the
/// kernel's alone.)
pub const BORROWED: u64 = 1 << 9;
/// Not present, but the frame stays (the page was made inaccessible after it was used).
pub const KEPT: u64 = 1 << 10;
pub const NO_EXECUTE: u64 = 1 << 63;

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const COUNT_ONE: u64 = 1 << 52;
const COUNT: u64 = 0x3ff << 52;

/// Frames that one page may need besides itself.
pub const TABLES_PER_PAGE: u64 = 3;

/// Tells the CPU to forget what it cached. A trait, so that tests can count.
pub trait Tlb {
    /// One page's translation, and with it the cached upper levels.
    fn page(&mut self, addr: u64);
    /// All of them.
    fn all(&mut self);
}

/// The CPU this runs on. (In tests it is not ours to tell.)
pub struct Cpu;

impl Tlb for Cpu {
    #[inline]
    fn page(&mut self, addr: u64) {
        #[cfg(any(test, not(target_arch = "x86_64")))]
        let _ = addr;
        #[cfg(all(not(test), target_arch = "x86_64"))]
        // SAFETY: forgetting a translation changes no memory; the kernel runs at CPL 0.
        unsafe {
            core::arch::asm!("invlpg [{}]", in(reg) addr, options(nostack, preserves_flags));
        }
    }

    fn all(&mut self) {
        #[cfg(all(not(test), target_arch = "x86_64"))]
        // SAFETY: loads CR3 with what it holds; no global pages are used, so this drops everything.
        unsafe {
            core::arch::asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags));
        }
    }
}

/// So many translations are forgotten one by one: for more of them the CPU forgets all of what it knows.
const FEW: u32 = 32;

struct Few<'a, T> {
    tlb: &'a mut T,
    pages: u32,
}

impl<T: Tlb> Tlb for Few<'_, T> {
    fn page(&mut self, addr: u64) {
        self.pages += 1;
        if self.pages <= FEW {
            self.tlb.page(addr);
        }
    }

    fn all(&mut self) {
        self.tlb.all();
    }
}

/// May a page be read, written, executed? None of them is a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prot(u8);

impl Prot {
    pub const NONE: Self = Self(0);
    pub const READ: Self = Self(1);
    pub const READ_WRITE: Self = Self(3);
    pub const READ_EXECUTE: Self = Self(5);

    /// From Linux's PROT_ bits, of which only the lowest three are looked at. `None` if the page could
    /// be both written and executed. A writable or executable page can be read: x86 knows no other.
    pub const fn new(bits: u8) -> Option<Self> {
        match bits & 7 {
            0 => Some(Self::NONE),
            1 => Some(Self::READ),
            2 | 3 => Some(Self::READ_WRITE),
            4 | 5 => Some(Self::READ_EXECUTE),
            _ => None,
        }
    }

    pub const fn readable(self) -> bool {
        self.0 != 0
    }

    pub const fn writable(self) -> bool {
        self.0 & 2 != 0
    }

    pub const fn executable(self) -> bool {
        self.0 & 4 != 0
    }
}

/// The leaf entry for a page: `borrowed` if the frame is an object's, `copy_on_write` if a write must
/// fault first. There is no way to ask for writable and executable: [`Prot`] can't say it.
pub fn leaf(frame: PhysAddr, prot: Prot, borrowed: bool, copy_on_write: bool) -> u64 {
    let mut entry = frame.0;
    if borrowed {
        entry |= BORROWED;
    }
    if !prot.readable() {
        return entry | KEPT;
    }
    entry |= PRESENT;
    if prot.writable() && !copy_on_write {
        entry |= WRITABLE;
    }
    if !prot.executable() {
        entry |= NO_EXECUTE;
    }
    entry
}

/// The frame that a leaf entry names.
pub fn frame_of(entry: u64) -> PhysAddr {
    PhysAddr(entry & ADDRESS)
}

/// A tree of tables.
#[derive(Clone, Copy)]
pub struct Tables {
    root: PhysAddr,
}

/// Where a leaf is or would be.
pub struct Slot {
    entry: *mut u64,
    parent: *mut u64,
}

impl Slot {
    pub fn get(&self) -> u64 {
        // SAFETY: `Tables` made this slot from a live table, and its lifetime ends before tables change:
        // every user in this folder takes a slot, uses it and lets it go within one step.
        unsafe { self.entry.read() }
    }

    pub fn set(&self, new: u64) {
        let old = self.get();
        // SAFETY: as above. The parent is the entry that points to this slot's table, or for a top-level
        // entry the slot itself is never handed out.
        unsafe {
            self.entry.write(new);
            match (old != 0, new != 0) {
                (false, true) => *self.parent += COUNT_ONE,
                (true, false) => *self.parent -= COUNT_ONE,
                _ => {}
            }
        }
    }
}

impl Tables {
    /// # Safety
    /// `root` is a top-level table that nobody else changes, below which the part used through this
    /// value was made by it, or is absent.
    pub const unsafe fn at(root: PhysAddr) -> Self {
        Self { root }
    }

    /// An empty tree.
    pub fn make(frames: &mut Frames) -> Option<Self> {
        Some(Self { root: make_table(frames)? })
    }

    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// The leaf for `addr`, if its table exists.
    #[inline]
    pub fn find(&self, addr: u64) -> Option<Slot> {
        self.find_at(addr, 1)
    }

    /// The leaf for `addr`; makes tables as needed. `None`, and nothing made, if frames run out.
    #[inline]
    pub fn find_or_make(&mut self, addr: u64, frames: &mut Frames) -> Option<Slot> {
        self.find_or_make_at(addr, 1, frames)
    }

    /// Writes `leaf` of each address in the range, which lies in one table, where no leaf is in use yet.
    /// `false`, and nothing made, if frames run out.
    #[must_use]
    pub fn fill(&mut self, range: Range<u64>, frames: &mut Frames, leaf: impl Fn(u64) -> u64) -> bool {
        debug_assert!(range.start < range.end && range.start / LARGE_PAGE == (range.end - 1) / LARGE_PAGE);
        let Some(first) = self.find_or_make(range.start, frames) else { return false };
        for (index, addr) in range.step_by(PAGE as usize).enumerate() {
            // In the same table by the caller's word, so still within its frame.
            let slot = Slot { entry: first.entry.wrapping_add(index), parent: first.parent };
            if slot.get() == 0 {
                slot.set(leaf(addr));
            }
        }
        true
    }

    /// Calls `visit` for each leaf in the range that is in use; what it returns is written back. Tables
    /// that become empty are freed. The CPU has forgotten what changed when this returns. The range is page-aligned and below 2^47.
    pub fn update(
        &mut self,
        range: Range<u64>,
        frames: &mut Frames,
        tlb: &mut impl Tlb,
        visit: &mut impl FnMut(&mut Frames, u64, u64) -> u64,
    ) {
        if range.start < range.end {
            let mut tlb = Few { tlb, pages: 0 };
            update_table(self.root, 4, range, u64::MAX, frames, &mut tlb, visit);
            if tlb.pages > FEW {
                tlb.tlb.all();
            }
        }
    }

    /// How many leaves in the range satisfy `wanted`. Changes nothing.
    pub fn count(&self, range: Range<u64>, wanted: impl Fn(u64) -> bool) -> u64 {
        let mut count = 0;
        self.each(range, &mut |_, entry| count += u64::from(wanted(entry)));
        count
    }

    /// Calls `visit` with address and entry of each leaf in use.
    pub fn each(&self, range: Range<u64>, visit: &mut impl FnMut(u64, u64)) {
        if range.start < range.end {
            each_in(self.root, 4, range, visit);
        }
    }

    /// Moves `len` bytes' worth of leaves to an empty place, whole tables at a time where both addresses
    /// are aligned to 2 MiB. `false`, and nothing moved, if the frames for new tables are not there.
    #[must_use]
    pub fn move_leaves(
        &mut self,
        from: u64,
        to: u64,
        len: u64,
        frames: &mut Frames,
        tlb: &mut impl Tlb,
    ) -> bool {
        let whole = (from | to).is_multiple_of(LARGE_PAGE);
        let leaf_tables = if whole { 1 } else { len / LARGE_PAGE + 2 };
        let need = leaf_tables + (len >> 30) + 2 + (len >> 39) + 2;
        if frames.available(Floor::Nothing) < need {
            return false;
        }
        let mut done = 0;
        while done < len {
            let (level, step) = if whole && len - done >= LARGE_PAGE { (2, LARGE_PAGE) } else { (1, PAGE) };
            let Some(old) = self.find_at(from + done, level) else {
                // The table is absent, and with it everything up to its end.
                let here = from + done;
                let end = (here | (LARGE_PAGE - 1)) + 1;
                done += if level == 1 { end - here } else { step };
                continue;
            };
            let entry = old.get();
            if entry != 0 {
                let Some(new) = self.find_or_make_at(to + done, level, frames) else {
                    unreachable!("paging: counted the frames above");
                };
                debug_assert_eq!(new.get(), 0);
                new.set(entry);
                old.set(0);
            }
            done += step;
        }
        // Empty tables of the old place go; and whole tables may hold any number of cached leaves.
        self.update(from..from + len, frames, tlb, &mut |_, _, entry| entry);
        tlb.all();
        true
    }

    /// Maps a 2 MiB page to itself, readable and writable, not executable; leaves what is mapped alone.
    pub fn map_identity(&mut self, addr: u64, frames: &mut Frames) -> bool {
        let Some(slot) = self.find_or_make_at(addr, 2, frames) else { return false };
        if slot.get() == 0 {
            slot.set((addr & !(LARGE_PAGE - 1)) | PRESENT | WRITABLE | LARGE | NO_EXECUTE);
        }
        true
    }

    /// Where `addr` is in physical memory, if it is present; sees 2 MiB and 1 GiB pages as well.
    pub fn translate(&self, addr: u64) -> Option<PhysAddr> {
        let mut table = self.root;
        for level in (1..=4).rev() {
            // SAFETY: see `entry_ptr`; tables of the tree are mapped.
            let entry = unsafe { entry_ptr(table, level, addr).read() };
            if entry & PRESENT == 0 {
                return None;
            }
            let span = 1u64 << shift(level);
            if level == 1 || entry & LARGE != 0 {
                return Some(PhysAddr((entry & ADDRESS & !(span - 1)) + (addr & (span - 1))));
            }
            table = frame_of(entry);
        }
        None
    }

    /// Frees the root of an emptied tree.
    ///
    /// # Safety
    /// No leaf is in use, no CPU uses the tree, and nothing uses this value or a copy of it again.
    pub unsafe fn free_root(self, frames: &mut Frames) {
        // SAFETY: ours by the caller's word.
        unsafe { frames.give(self.root) };
    }

    #[inline]
    fn find_at(&self, addr: u64, level: u32) -> Option<Slot> {
        let mut table = self.root;
        let mut parent = core::ptr::null_mut();
        for at in (level + 1..=4).rev() {
            parent = entry_ptr(table, at, addr);
            // SAFETY: see `entry_ptr`; `table` is a table of this tree.
            let entry = unsafe { parent.read() };
            if entry == 0 || entry & LARGE != 0 {
                return None;
            }
            table = frame_of(entry);
        }
        Some(Slot { entry: entry_ptr(table, level, addr), parent })
    }

    #[inline]
    fn find_or_make_at(&mut self, addr: u64, level: u32, frames: &mut Frames) -> Option<Slot> {
        if let Some(slot) = self.find_at(addr, level) {
            return Some(slot);
        }
        // All or nothing: half a path would be tables that nothing counts.
        if frames.available(Floor::Nothing) < TABLES_PER_PAGE {
            return None;
        }
        let mut table = self.root;
        let mut parent: *mut u64 = core::ptr::null_mut();
        for at in (level + 1..=4).rev() {
            let entry = entry_ptr(table, at, addr);
            // SAFETY: `entry` and `parent` lie in tables of this tree (see `entry_ptr`).
            unsafe {
                if *entry == 0 {
                    *entry = make_table(frames)?.0 | PRESENT | WRITABLE;
                    if !parent.is_null() {
                        *parent += COUNT_ONE;
                    }
                } else if *entry & LARGE != 0 {
                    return None;
                }
                table = frame_of(*entry);
            }
            parent = entry;
        }
        Some(Slot { entry: entry_ptr(table, level, addr), parent })
    }
}

fn make_table(frames: &mut Frames) -> Option<PhysAddr> {
    let frame = frames.take(Floor::Nothing)?;
    // SAFETY: just taken.
    unsafe { zero(frame) };
    Some(frame)
}

const fn shift(level: u32) -> u32 {
    12 + 9 * (level - 1)
}

/// The entry for `addr` in a table of this level: always within the table's frame, for the index is
/// nine bits. Valid to use as long as `table` is a live table.
#[inline]
fn entry_ptr(table: PhysAddr, level: u32, addr: u64) -> *mut u64 {
    table.ptr::<u64>().wrapping_add((addr >> shift(level)) as usize & 511)
}

/// The next of the table's entries up to `last` that is in use. Most are not, and this looks at a lot of them: so
/// eight at a time, in words that no compiler has to unroll.
#[inline]
fn next_in_use(table: PhysAddr, mut index: usize, last: usize) -> Option<usize> {
    let entries = table.ptr::<u64>();
    while index <= last {
        // SAFETY: `last` is at most 511, so all of this is within the table, which is live (see `entry_ptr`).
        unsafe {
            if entries.add(index).read() != 0 {
                return Some(index);
            }
            index += 1;
            while index + 7 <= last {
                let [a, b, c, d, e, f, g, h] = entries.add(index).cast::<[u64; 8]>().read();
                if a | b | c | d | e | f | g | h != 0 {
                    break;
                }
                index += 8;
            }
        }
    }
    None
}

/// How many of the table's entries went. `in_use`: at most so many there are.
fn update_table(
    table: PhysAddr,
    level: u32,
    range: Range<u64>,
    mut in_use: u64,
    frames: &mut Frames,
    tlb: &mut impl Tlb,
    visit: &mut impl FnMut(&mut Frames, u64, u64) -> u64,
) -> u64 {
    let span = 1u64 << shift(level);
    let start = range.start & !(512 * span - 1);
    let last = ((range.end - 1 - start) >> shift(level)) as usize;
    let mut index = ((range.start - start) >> shift(level)) as usize;
    if level == 1 {
        return update_leaves(table, index..last + 1, start, in_use, frames, tlb, visit);
    }
    let mut gone = 0;
    while in_use > 0
        && let Some(found) = next_in_use(table, index, last)
    {
        index = found + 1;
        in_use -= 1;
        let at = (start + found as u64 * span).max(range.start);
        let slot = entry_ptr(table, level, at);
        // SAFETY: see `entry_ptr`; `table` is live: it is freed by its parent's turn at the earliest.
        let entry = unsafe { slot.read() };
        if entry & LARGE != 0 {
            continue;
        }
        let child = frame_of(entry);
        let part = at..((at | (span - 1)) + 1).min(range.end);
        let gone_there =
            update_table(child, level - 1, part, (entry & COUNT) / COUNT_ONE, frames, tlb, visit);
        let mut new = entry - gone_there * COUNT_ONE;
        if new & COUNT == 0 {
            // The CPU may have cached the way through this table.
            tlb.page(at);
            // SAFETY: no entry of the table is in use, and its only pointer is overwritten below.
            unsafe { frames.give(child) };
            new = 0;
        }
        if new != entry {
            // SAFETY: as above.
            unsafe { slot.write(new) };
        }
        gone += u64::from(new == 0);
    }
    gone
}

/// [`update_table`] of a table of leaves, those of `indices`, the first of which `start` would be at 0. Memories have thousands of
/// them in a row.
#[inline]
fn update_leaves(
    table: PhysAddr,
    indices: Range<usize>,
    start: u64,
    mut in_use: u64,
    frames: &mut Frames,
    tlb: &mut impl Tlb,
    visit: &mut impl FnMut(&mut Frames, u64, u64) -> u64,
) -> u64 {
    let mut gone = 0;
    let mut index = indices.start;
    while in_use > 0
        && let Some(found) = next_in_use(table, index, indices.end - 1)
    {
        index = found;
        while index < indices.end {
            // SAFETY: see `entry_ptr`; `table` is live: it is freed by its parent's turn at the earliest.
            let slot = unsafe { table.ptr::<u64>().add(index) };
            // SAFETY: as above.
            let entry = unsafe { slot.read() };
            if entry == 0 {
                break;
            }
            let at = start + index as u64 * PAGE;
            let new = visit(frames, at, entry);
            if new != entry {
                if entry & PRESENT != 0 {
                    tlb.page(at);
                }
                // SAFETY: as above.
                unsafe { slot.write(new) };
                gone += u64::from(new == 0);
            }
            in_use = in_use.saturating_sub(1);
            index += 1;
        }
    }
    gone
}

fn each_in(table: PhysAddr, level: u32, range: Range<u64>, visit: &mut impl FnMut(u64, u64)) {
    if range.is_empty() {
        return;
    }
    let span = 1u64 << shift(level);
    // Most entries of most tables are zero: nothing else happens for each of those.
    let (first, last) = (range.start & !(span - 1), (range.end - 1) & !(span - 1));
    // SAFETY: see `entry_ptr`; the range lies in one table. Nothing changes the tree meanwhile, for `Tables::each`
    // borrows it.
    let entries = unsafe {
        core::slice::from_raw_parts(entry_ptr(table, level, first), ((last - first) / span) as usize + 1)
    };
    for (n, &entry) in entries.iter().enumerate().filter(|(_, entry)| **entry != 0) {
        let at = (first + n as u64 * span).max(range.start);
        if level == 1 {
            visit(at, entry);
        } else if entry & LARGE == 0 {
            let next = ((at | (span - 1)) + 1).min(range.end);
            each_in(frame_of(entry), level - 1, at..next, visit);
        }
    }
}
