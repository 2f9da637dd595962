//! The address space: what `mmap` and its kin do, and what a page fault asks.
//!
//! Promises:
//! - an operation that fails has changed nothing (but [`Space::dont_need`], which like Linux's does what
//!   it can before it answers that there was a hole);
//! - areas cost one entry until they are touched; page tables go when they are empty;
//! - nothing here allocates from the heap, nothing touches memory that may fault, and
//!   [`Space::fault`] takes only frames. So the heap and the fault handler may stand on this.
//!
//! **The rule for running out of memory.** A writable private page is a promise. Promises are counted
//! (`committed`), and a request is refused with [`Error::NoMem`] unless all promises not yet kept, the
//! page tables they may need, and the reserve fit into the free frames. So `Vec::try_reserve` and
//! `memory.grow` fail cleanly, instead of ending the guest at a later touch. Not counted: inaccessible
//! and read-only areas (wasmtime reserves terabytes), shared ones, and those with `no_reserve` (stacks,
//! of which little is used). The heap's small blocks come from frames directly and can eat into promises;
//! a fault that then finds no frame answers [`FaultOutcome::OutOfMemory`]: the guest ends with words.
//!
//! Not here: swapping, sharing between address spaces (there is one), transparent huge pages, `SIGBUS`
//! (a touch past an object's end is a plain `Segv`).

use core::ops::Range;

use super::{
    areas::{Area, Areas, NO_RESERVE, SHARED},
    frames::{Floor, Frames, PhysAddr, zero},
    object::{Object, ObjectId, Objects},
    paging::{self, BORROWED, LARGE_PAGE, PAGE, Prot, TABLES_PER_PAGE, Tables, Tlb},
};

/// Where areas may be. Below are the identity map and devices; nothing of either is ever in here.
pub const ADDRESSES: Range<u64> = 0x0100_0000_0000..0x7f00_0000_0000;

pub use super::object::MAX_SIZE;

/// Bytes that one fault maps where nothing has to be copied or cleared: 16 pages.
const FAULT_AROUND: u64 = 16 * PAGE;

/// The most pages that [`Space::ahead`] makes at once.
const AHEAD: u64 = 15;

/// Linux's F_SEAL_ bits.
pub const SEAL_SEAL: u32 = 1;
pub const SEAL_SHRINK: u32 = 2;
pub const SEAL_GROW: u32 = 4;
pub const SEAL_WRITE: u32 = 8;
pub const SEAL_FUTURE_WRITE: u32 = 16;

/// Why not. The names are Linux's, and so are the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Operation not permitted: a seal forbids it.
    Perm = 1,
    /// Not enough memory, no free address range of that length, or a hole where none may be.
    NoMem = 12,
    /// Writable and executable at once.
    Acces = 13,
    /// The range to move is not one area.
    Fault = 14,
    /// A writable shared mapping stands against a seal.
    Busy = 16,
    /// Something is mapped there, and it may not be replaced.
    Exist = 17,
    /// Misaligned, empty or beyond all bounds.
    Inval = 22,
    /// A file would grow beyond [`MAX_SIZE`].
    FBig = 27,
}

/// Where a new area goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Anywhere.
    Any,
    /// Anywhere, at a multiple of this power of two.
    Aligned(u64),
    /// Here if it is free, else anywhere.
    Hint(u64),
    /// Here, whatever it replaces.
    Fixed(u64),
    /// Here or not at all.
    FixedNoReplace(u64),
}

/// What is behind an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Zeros, made at the first touch.
    Anonymous,
    /// An object's pages from this offset in bytes (a multiple of 4 KiB); unless `shared`, a page that
    /// is written is copied first.
    Object { id: ObjectId, offset: u64, shared: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Execute,
}

/// What became of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOutcome {
    /// Try the instruction again.
    Resolved,
    /// A bad access. `mapped`: there is an area (SEGV_ACCERR), it forbids this; else SEGV_MAPERR.
    Segv { mapped: bool },
    /// The access is good, but there is no frame left for it.
    OutOfMemory,
}

/// A count of what is used, in frames or pages of 4 KiB where not said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub total: u64,
    pub free: u64,
    /// Pages promised by the commit rule.
    pub committed: u64,
    /// Those of them that have their frame already.
    pub resident: u64,
    /// How many areas there are.
    pub areas: u64,
    /// How many memory objects there are.
    pub objects: u64,
    /// Frames that hold areas and objects themselves.
    pub nodes: u64,
}

pub struct Space<T: Tlb> {
    pub frames: Frames,
    tables: Tables,
    areas: Areas,
    objects: Objects,
    tlb: T,
    committed: u64,
    resident: u64,
    /// Where a fault would go on with the last ones, and how many pages those made in a row.
    row: (u64, u64),
}

impl<T: Tlb> Space<T> {
    /// No memory yet: everything answers [`Error::NoMem`] until [`Self::init`].
    pub const fn new(tlb: T) -> Self {
        Self {
            frames: Frames::new(),
            // SAFETY: never followed before `init`: without frames there are no areas, hence no walks.
            tables: unsafe { Tables::at(PhysAddr(0)) },
            areas: Areas::new(),
            objects: Objects::new(),
            tlb,
            committed: 0,
            resident: 0,
            row: (0, 0),
        }
    }

    /// # Safety
    /// `root` is the live top-level table, with nothing in [`ADDRESSES`]; all of it is ours to change.
    pub unsafe fn init(&mut self, root: PhysAddr) {
        // SAFETY: by the caller's word.
        self.tables = unsafe { Tables::at(root) };
    }

    pub fn tables(&mut self) -> (&mut Tables, &mut Frames) {
        (&mut self.tables, &mut self.frames)
    }

    /// Area nodes looked at so far.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> u64 {
        self.areas.steps.get()
    }

    pub fn statistics(&self) -> Statistics {
        Statistics {
            total: self.frames.total(),
            free: self.frames.free(),
            committed: self.committed,
            resident: self.resident,
            areas: self.areas.len().into(),
            objects: self.objects.live().into(),
            nodes: self.areas.node_frames() + self.objects.frames(),
        }
    }

    /// Makes an area of `len` bytes (rounded up to pages) and answers its address.
    pub fn map(
        &mut self,
        place: Place,
        len: u64,
        prot: Prot,
        no_reserve: bool,
        backing: Backing,
    ) -> Result<u64, Error> {
        let len = round_up(len)?;
        let (object, offset, shared) = match backing {
            Backing::Anonymous => (0, 0, false),
            Backing::Object { id, offset, shared } => {
                let end = offset.checked_add(len).filter(|&end| end <= MAX_SIZE).ok_or(Error::Inval)?;
                if !offset.is_multiple_of(PAGE) || end < offset {
                    return Err(Error::Inval);
                }
                let sealed = self.objects.get(id.0).seals & (SEAL_WRITE | SEAL_FUTURE_WRITE) != 0;
                if shared && prot.writable() && sealed {
                    return Err(Error::Perm);
                }
                (id.0, (offset / PAGE) as u32, shared)
            }
        };
        let replace = matches!(place, Place::Fixed(_));
        let start = match place {
            Place::Any => self.gap(len)?,
            Place::Aligned(align) if align.is_power_of_two() => {
                self.areas.find_gap(len, align.max(PAGE), ADDRESSES).ok_or(Error::NoMem)?
            }
            Place::Aligned(_) => return Err(Error::Inval),
            Place::Hint(hint) => match within(hint, len) {
                Ok(range) if self.is_free(range.clone()) => range.start,
                _ => self.gap(len)?,
            },
            Place::Fixed(addr) => within(addr, len)?.start,
            Place::FixedNoReplace(addr) => {
                let range = within(addr, len)?;
                if !self.is_free(range.clone()) {
                    return Err(Error::Exist);
                }
                range.start
            }
        };
        let flags = if shared { SHARED } else { 0 } | if no_reserve { NO_RESERVE } else { 0 };
        let area = Area { start, end: start + len, prot, flags, object, offset };
        let charge = if area.charged() { area.pages() } else { 0 };
        self.afford(charge)?;
        self.make_room(3)?;
        if replace {
            self.clear_out(start..start + len);
        }
        self.committed += charge;
        self.add(area);
        Ok(start)
    }

    /// Removes whatever is in the range.
    pub fn unmap(&mut self, addr: u64, len: u64) -> Result<(), Error> {
        let len = round_up(len).map_err(|_| Error::Inval)?;
        let range = within(addr, len).map_err(|_| Error::Inval)?;
        self.make_room(2)?;
        self.clear_out(range);
        if self.areas.len() == 0 {
            self.areas.trim(&mut self.frames);
        }
        Ok(())
    }

    /// Changes what may be done with the pages of a range, all of which must be mapped.
    pub fn protect(&mut self, addr: u64, len: u64, prot: Prot) -> Result<(), Error> {
        if !addr.is_multiple_of(PAGE) {
            return Err(Error::Inval);
        }
        if len == 0 {
            return Ok(());
        }
        let range = within(addr, round_up(len)?)?;
        // What will be promised, and what is no longer, and how much of each is there already.
        let (mut more, mut more_resident, mut less, mut less_resident) = (0, 0, 0, 0);
        let mut next = range.start;
        let mut uniform = true;
        for area in self.areas.overlapping(range.clone()) {
            if area.start > next {
                break;
            }
            next = area.end;
            let sealed = SEAL_WRITE | SEAL_FUTURE_WRITE;
            if prot.writable()
                && area.flags & SHARED != 0
                && !area.prot.writable()
                && self.objects.get(area.object).seals & sealed != 0
            {
                return Err(Error::Acces);
            }
            uniform &= area.prot == prot;
            let old = area.cut(range.clone());
            let new = Area { prot, ..old };
            if old.charged() != new.charged() {
                let owned = self.tables.count(old.start..old.end, |entry| entry & BORROWED == 0);
                if new.charged() {
                    more += old.pages();
                    more_resident += owned;
                } else {
                    less += old.pages();
                    less_resident += owned;
                }
            }
        }
        if next < range.end {
            return Err(Error::NoMem);
        }
        if uniform {
            return Ok(());
        }
        self.afford(more - more_resident)?;
        self.make_room(2)?;
        self.committed = self.committed + more - less;
        self.resident = self.resident + more_resident - less_resident;
        // What has the protection already is not split, so that nothing has to be joined again after.
        for at in [range.start, range.end] {
            if self.areas.find(at).is_some_and(|area| area.prot != prot) {
                self.split(at);
            }
        }
        let mut at = range.start;
        while at < range.end {
            let Some(area) = self.areas.find(at) else { break };
            at = area.end;
            if area.prot == prot {
                // Has it already, or was joined to what was just changed: its leaves are right.
                continue;
            }
            let private = area.flags & SHARED == 0;
            self.tables.update(area.start..area.end, &mut self.frames, &mut self.tlb, &mut |_, _, entry| {
                let borrowed = entry & BORROWED != 0;
                paging::leaf(paging::frame_of(entry), prot, borrowed, borrowed && private)
            });
            if !self.areas.set_prot_alone(area.start, prot) {
                self.take_out(area.start);
                self.put_back(Area { prot, ..area });
            }
        }
        Ok(())
    }

    /// Forgets the contents of a range: private pages read as zeros, or as their object, from now on.
    pub fn dont_need(&mut self, addr: u64, len: u64) -> Result<(), Error> {
        if !addr.is_multiple_of(PAGE) {
            return Err(Error::Inval);
        }
        if len == 0 {
            return Ok(());
        }
        let range = within(addr, round_up(len).map_err(|_| Error::Inval)?)?;
        let mut next = range.start;
        let mut hole = false;
        while let Some(area) = self.areas.next(next).filter(|area| area.start < range.end) {
            hole |= area.start > next;
            next = area.end;
            self.drop_pages(&area.cut(range.clone()));
        }
        if hole || next < range.end { Err(Error::NoMem) } else { Ok(()) }
    }

    /// Resizes the range, which must lie in one area; moves it where it can't grow and `may_move` says
    /// so, or to `fixed` in any case, replacing what is there. Contents move by their page tables.
    pub fn remap(
        &mut self,
        old: u64,
        old_len: u64,
        new_len: u64,
        may_move: bool,
        fixed: Option<u64>,
    ) -> Result<u64, Error> {
        if !old.is_multiple_of(PAGE) || old_len == 0 || new_len == 0 || (fixed.is_some() && !may_move) {
            return Err(Error::Inval);
        }
        let (old_len, new_len) = (round_up(old_len)?, round_up(new_len)?);
        let old_range = within(old, old_len).map_err(|_| Error::Fault)?;
        let Some(area) = self.areas.find(old).filter(|area| area.end >= old_range.end) else {
            return Err(Error::Fault);
        };
        if let Some(to) = fixed {
            let target = within(to, new_len).map_err(|_| Error::Inval)?;
            if target.start < old_range.end && old_range.start < target.end {
                return Err(Error::Inval);
            }
        } else if new_len <= old_len {
            if new_len < old_len {
                self.unmap(old + new_len, old_len - new_len)?;
            }
            return Ok(old);
        }
        if area.object != 0 && area.object_page(old) + new_len / PAGE > MAX_SIZE / PAGE {
            return Err(Error::Inval);
        }
        let growth = if area.charged() { new_len.saturating_sub(old_len) / PAGE } else { 0 };
        self.afford(growth)?;
        self.make_room(6)?;
        let mut grown = area.cut(old_range.clone());
        if fixed.is_none() && area.end == old_range.end {
            let more = old_range.end..old + new_len;
            if more.end <= ADDRESSES.end && self.is_free(more.clone()) {
                let offset = if area.object == 0 { 0 } else { area.object_page(area.end) as u32 };
                self.committed += growth;
                self.add(Area { start: more.start, end: more.end, offset, ..area });
                return Ok(old);
            }
        }
        if !may_move {
            return Err(Error::NoMem);
        }
        let to = match fixed {
            Some(to) => to,
            None => self.gap(new_len)?,
        };
        // The leaves of the target go first where it is fixed; after that only frames for tables can be
        // missing, so these are counted before.
        if self.frames.available(Floor::Nothing) < move_cost(old_len.min(new_len)) {
            return Err(Error::NoMem);
        }
        if fixed.is_some() {
            self.clear_out(to..to + new_len);
            if new_len < old_len {
                self.clear_out(old + new_len..old_range.end);
                grown = grown.cut(old..old + new_len);
            }
        }
        let keep = old_len.min(new_len);
        if !self.tables.move_leaves(old, to, keep, &mut self.frames, &mut self.tlb) {
            unreachable!("space: counted the frames above");
        }
        self.carve(old..old + keep);
        self.take_out(old);
        self.committed += growth;
        self.put_back(Area { start: to, end: to + new_len, ..grown });
        Ok(to)
    }

    /// What a page fault at `addr` comes to. Never allocates anything but frames.
    pub fn fault(&mut self, addr: u64, access: Access) -> FaultOutcome {
        let Some(area) = self.areas.find(addr) else { return FaultOutcome::Segv { mapped: false } };
        let allowed = match access {
            Access::Read => area.prot.readable(),
            Access::Write => area.prot.writable(),
            Access::Execute => area.prot.executable(),
        };
        if !allowed {
            return FaultOutcome::Segv { mapped: true };
        }
        let page = addr & !(PAGE - 1);
        let private = area.flags & SHARED == 0;
        let entry = self.tables.find(page).map_or(0, |slot| slot.get());
        let borrowed = entry & BORROWED != 0;
        if entry != 0 && !(borrowed && private && access == Access::Write) {
            // There already: the CPU had an older state cached.
            self.tlb.page(page);
            return FaultOutcome::Resolved;
        }
        let source = match area.object {
            0 => None,
            _ if borrowed => Some(paging::frame_of(entry)),
            id => {
                let object = self.objects.get_mut(id);
                let number = area.object_page(page);
                if number >= object.size.div_ceil(PAGE) {
                    return FaultOutcome::Segv { mapped: true };
                }
                if private && access == Access::Write {
                    object.page(number)
                } else {
                    if object.is_lent() && !area.prot.writable() {
                        let object = *object;
                        return self.fault_around(page, &area, &object);
                    }
                    let Some(frame) = object.page_or_make(number, &mut self.frames) else {
                        return FaultOutcome::OutOfMemory;
                    };
                    return self.set_leaf(page, paging::leaf(frame, area.prot, true, private));
                }
            }
        };
        let floor = if area.charged() { Floor::Half } else { Floor::Reserve };
        let Some(frame) = self.frames.take(floor) else { return FaultOutcome::OutOfMemory };
        match source {
            // SAFETY: the source is a frame of the object that this area keeps alive, the target was just
            // taken: both are mapped, whole, and not the same.
            Some(source) => unsafe {
                core::ptr::copy_nonoverlapping(source.ptr::<u8>(), frame.ptr::<u8>(), PAGE as usize);
            },
            // SAFETY: just taken.
            None => unsafe { zero(frame) },
        }
        let outcome = self.set_leaf(page, paging::leaf(frame, area.prot, false, false));
        if outcome == FaultOutcome::Resolved {
            self.resident += u64::from(area.charged());
        } else {
            // SAFETY: just taken, and no leaf names it.
            unsafe { self.frames.give(frame) };
        }
        outcome
    }

    /// Says that a fault at `addr` was resolved. Where memory is touched page after page for the first time, the next pages
    /// are made with it: a quarter of what was touched in a row, so not much is made for nothing, and only if they are promised or
    /// nobody was promised what they take.
    pub fn ahead(&mut self, addr: u64) {
        let page = addr & !(PAGE - 1);
        let (next, so_far) = self.row;
        let mut row = if page == next { so_far + 1 } else { 1 };
        let mut at = page + PAGE;
        let more = (row / 4).min(AHEAD);
        if more > 0
            && let Some(area) = self.areas.find(page)
            && area.object == 0
            && (area.charged() || area.prot.writable() && self.afford(more).is_ok())
        {
            let end = area.end.min(at + more * PAGE);
            while at < end {
                let Some(frame) = self.frames.take(Floor::Reserve) else { break };
                let slot = self.tables.find_or_make(at, &mut self.frames);
                let Some(slot) = slot.filter(|slot| slot.get() == 0) else {
                    // SAFETY: just taken, and no leaf names it.
                    unsafe { self.frames.give(frame) };
                    break;
                };
                // SAFETY: just taken.
                unsafe { zero(frame) };
                slot.set(paging::leaf(frame, area.prot, false, false));
                self.resident += u64::from(area.charged());
                row += 1;
                at += PAGE;
            }
        }
        self.row = (at, row);
    }

    /// Maps the page of a lent object and those near to it: what is only read, or executed, is mostly read
    /// in a row, and nothing of it needs a frame. (Not where pages may be written: they would only fault again.)
    fn fault_around(&mut self, page: u64, area: &Area, object: &Object) -> FaultOutcome {
        let start = (page & !(FAULT_AROUND - 1)).max(area.start);
        let pages = object.size.div_ceil(PAGE).saturating_sub(area.offset.into());
        let end = (start & !(FAULT_AROUND - 1)).saturating_add(FAULT_AROUND);
        let end = end.min(area.end).min(area.start.saturating_add(pages * PAGE));
        let private = area.flags & SHARED == 0;
        let done = self.tables.fill(start..end, &mut self.frames, |addr| {
            // Within the object, by the range's end.
            let frame = object.page(area.object_page(addr));
            frame.map_or(0, |frame| paging::leaf(frame, area.prot, true, private))
        });
        if done { FaultOutcome::Resolved } else { FaultOutcome::OutOfMemory }
    }

    /// Is there no hole in the range?
    pub fn is_mapped(&self, addr: u64, len: u64) -> bool {
        let Some(end) = addr.checked_add(len) else { return false };
        let mut next = addr;
        for area in self.areas.overlapping(addr..end) {
            if area.start > next {
                return false;
            }
            next = area.end;
        }
        next >= end
    }

    /// Is every page of the range in an area that may be read (`write`: written)?
    pub fn allows(&self, addr: u64, len: u64, write: bool) -> bool {
        let Some(end) = addr.checked_add(len) else { return false };
        let mut next = addr;
        for area in self.areas.overlapping(addr..end) {
            let ok = if write { area.prot.writable() } else { area.prot.readable() };
            if area.start > next || !ok {
                return false;
            }
            next = area.end;
        }
        next >= end
    }

    /// An empty object with these seals, held by its maker until [`Self::release`].
    pub fn make_object(&mut self, seals: u32) -> Result<ObjectId, Error> {
        if !self.objects.reserve(1, &mut self.frames) {
            self.objects.trim(&mut self.frames);
            return Err(Error::NoMem);
        }
        match Object::make(seals, &mut self.frames) {
            Some(object) => Ok(ObjectId(self.objects.insert(object))),
            None => {
                self.objects.trim(&mut self.frames);
                Err(Error::NoMem)
            }
        }
    }

    /// An object that is `size` bytes of RAM from `start`, as they are, never to be written through it or
    /// freed with it; held by its maker until [`Self::release`]. What its last page holds behind `size` can
    /// be seen where it is mapped.
    ///
    /// # Safety
    /// `start` begins a frame. The RAM is mapped at its own address, not among the frames of this space, and
    /// nobody writes to it for as long as the object or a mapping of it lives.
    pub unsafe fn lend_object(&mut self, start: PhysAddr, size: u64) -> Result<ObjectId, Error> {
        if !start.0.is_multiple_of(PAGE) || size > MAX_SIZE {
            return Err(Error::Inval);
        }
        if !self.objects.reserve(1, &mut self.frames) {
            self.objects.trim(&mut self.frames);
            return Err(Error::NoMem);
        }
        let seals = SEAL_SEAL | SEAL_SHRINK | SEAL_GROW | SEAL_WRITE;
        Ok(ObjectId(self.objects.insert(Object::lend(start, size, seals))))
    }

    /// Lets go of an object; it goes with the last area that maps it.
    pub fn release(&mut self, id: ObjectId) {
        release(&mut self.objects, id.0, &mut self.frames);
    }

    pub fn object_size(&self, id: ObjectId) -> u64 {
        self.objects.get(id.0).size
    }

    pub fn object_seals(&self, id: ObjectId) -> u32 {
        self.objects.get(id.0).seals
    }

    pub fn add_seals(&mut self, id: ObjectId, seals: u32) -> Result<(), Error> {
        if seals & !(SEAL_SEAL | SEAL_SHRINK | SEAL_GROW | SEAL_WRITE | SEAL_FUTURE_WRITE) != 0 {
            return Err(Error::Inval);
        }
        if self.object_seals(id) & SEAL_SEAL != 0 {
            return Err(Error::Perm);
        }
        if seals & SEAL_WRITE != 0
            && self
                .areas
                .overlapping(ADDRESSES)
                .any(|area| area.object == id.0 && area.flags & SHARED != 0 && area.prot.writable())
        {
            return Err(Error::Busy);
        }
        self.objects.get_mut(id.0).seals |= seals;
        Ok(())
    }

    /// Cuts or lengthens an object. Pages that go are taken out of all mappings, copies included.
    pub fn set_object_size(&mut self, id: ObjectId, size: u64) -> Result<(), Error> {
        if size > MAX_SIZE {
            return Err(Error::FBig);
        }
        let object = *self.objects.get(id.0);
        if size < object.size {
            if object.seals & SEAL_SHRINK != 0 {
                return Err(Error::Perm);
            }
            let first = size.div_ceil(PAGE);
            let mut at = ADDRESSES.start;
            while let Some(area) = self.areas.next(at) {
                at = area.end;
                if area.object == id.0 && area.object_page(area.end) > first {
                    let kept = first.saturating_sub(area.offset.into()) * PAGE;
                    self.drop_pages(&area.cut(area.start + kept..area.end));
                }
            }
            let object = self.objects.get_mut(id.0);
            object.cut(first, &mut self.frames);
            let used = size % PAGE;
            if let Some(frame) = object.page(size / PAGE).filter(|_| used != 0) {
                // SAFETY: the object's own frame; clears from `used` to its end.
                unsafe { frame.ptr::<u8>().add(used as usize).write_bytes(0, (PAGE - used) as usize) };
            }
        } else if size > object.size && object.seals & SEAL_GROW != 0 {
            return Err(Error::Perm);
        }
        self.objects.get_mut(id.0).size = size;
        Ok(())
    }

    /// The frame to read from at this page of an object; `None` for a hole.
    pub fn object_page(&self, id: ObjectId, page: u64) -> Option<PhysAddr> {
        self.objects.get(id.0).page(page)
    }

    /// The frame to write to at this page of an object.
    pub fn object_page_or_make(&mut self, id: ObjectId, page: u64) -> Result<PhysAddr, Error> {
        self.objects.get_mut(id.0).page_or_make(page, &mut self.frames).ok_or(Error::NoMem)
    }

    /// The rule of the module's head: can this many more pages be promised?
    fn afford(&self, pages: u64) -> Result<(), Error> {
        if pages == 0 {
            return Ok(());
        }
        let promised = self.committed - self.resident;
        let tables = pages / 512 + TABLES_PER_PAGE;
        match promised.checked_add(pages).and_then(|sum| sum.checked_add(tables)) {
            Some(sum) if sum <= self.frames.available(Floor::Reserve) => Ok(()),
            _ => Err(Error::NoMem),
        }
    }

    fn make_room(&mut self, areas: u32) -> Result<(), Error> {
        if self.areas.reserve(areas, &mut self.frames) { Ok(()) } else { Err(Error::NoMem) }
    }

    /// A free range. Big ones start at 2 MiB, so that they can be moved by whole tables.
    fn gap(&self, len: u64) -> Result<u64, Error> {
        let align = if len >= LARGE_PAGE { LARGE_PAGE } else { PAGE };
        self.areas.find_gap(len, align, ADDRESSES).ok_or(Error::NoMem)
    }

    fn is_free(&self, range: Range<u64>) -> bool {
        self.areas.next(range.start).is_none_or(|area| area.start >= range.end)
    }

    /// Makes the range's ends borders between areas. Room for two must have been reserved.
    fn carve(&mut self, range: Range<u64>) {
        self.split(range.start);
        self.split(range.end);
    }

    fn split(&mut self, at: u64) {
        let object = self.areas.split_at(at);
        self.hold(object.unwrap_or(0), 1);
    }

    /// Removes all areas of a range with their pages. Room for two must have been reserved.
    fn clear_out(&mut self, range: Range<u64>) {
        self.carve(range.clone());
        // One walk over the tables for all areas: most of them are reservations that have no pages.
        let (areas, mut here, mut kept) = (&self.areas, None::<Area>, 0);
        self.tables.update(range.clone(), &mut self.frames, &mut self.tlb, &mut |frames, addr, entry| {
            if here.is_none_or(|area| addr >= area.end) {
                here = areas.find(addr);
            }
            if entry & BORROWED == 0 {
                // SAFETY: as in `drop_pages`.
                unsafe { frames.give(paging::frame_of(entry)) };
                kept += u64::from(here.is_some_and(|area| area.charged()));
            }
            0
        });
        self.resident -= kept;
        let (committed, objects, frames) = (&mut self.committed, &mut self.objects, &mut self.frames);
        self.areas.remove_all(range, &mut |area| {
            if area.charged() {
                *committed -= area.pages();
            }
            if area.object != 0 {
                release(objects, area.object, frames);
            }
        });
    }

    /// Adds an area; it holds its object.
    fn add(&mut self, area: Area) {
        self.hold(area.object, 1);
        self.put_back(area);
    }

    /// Takes out the area that starts here; its hold on its object goes to the caller.
    fn take_out(&mut self, start: u64) -> Option<Area> {
        self.areas.remove(start)
    }

    /// Adds an area whose hold on its object the caller has; a joined neighbour's hold is dropped.
    fn put_back(&mut self, area: Area) {
        let joined = self.areas.insert(area);
        if area.object != 0 {
            self.objects.get_mut(area.object).refs -= joined;
        }
    }

    fn hold(&mut self, object: u32, count: u32) {
        if object != 0 {
            self.objects.get_mut(object).refs += count;
        }
    }

    /// Frees the pages of an area (or a part of one), and forgets borrowed ones.
    fn drop_pages(&mut self, area: &Area) {
        let mut freed = 0;
        self.tables.update(area.start..area.end, &mut self.frames, &mut self.tlb, &mut |frames, _, entry| {
            if entry & BORROWED == 0 {
                // SAFETY: an own page of this area, whose leaf goes; the CPU is told by `update` before
                // anything else can run and take the frame again (one core, interrupts touch no frames).
                unsafe { frames.give(paging::frame_of(entry)) };
                freed += 1;
            }
            0
        });
        if area.charged() {
            self.resident -= freed;
        }
    }

    fn set_leaf(&mut self, page: u64, entry: u64) -> FaultOutcome {
        let Some(slot) = self.tables.find_or_make(page, &mut self.frames) else {
            return FaultOutcome::OutOfMemory;
        };
        let old = slot.get();
        slot.set(entry);
        if old != 0 {
            self.tlb.page(page);
        }
        FaultOutcome::Resolved
    }
}

/// Lets go of an object: of its frames too, if that was the last.
fn release(objects: &mut Objects, object: u32, frames: &mut Frames) {
    let held = objects.get_mut(object);
    held.refs -= 1;
    if held.refs == 0 {
        objects.remove(object).free(frames);
        objects.trim(frames);
    }
}

/// Frames that moving this much may need at worst: see [`Tables::move_leaves`].
fn move_cost(len: u64) -> u64 {
    len / LARGE_PAGE + 2 + (len >> 30) + 2 + (len >> 39) + 2
}

fn round_up(len: u64) -> Result<u64, Error> {
    match len {
        0 => Err(Error::Inval),
        _ => len.checked_next_multiple_of(PAGE).ok_or(Error::NoMem),
    }
}

/// The range, if it is aligned and lies where areas may be.
fn within(addr: u64, len: u64) -> Result<Range<u64>, Error> {
    if !addr.is_multiple_of(PAGE) {
        return Err(Error::Inval);
    }
    match addr.checked_add(len) {
        Some(end) if addr >= ADDRESSES.start && end <= ADDRESSES.end => Ok(addr..end),
        _ => Err(Error::NoMem),
    }
}
