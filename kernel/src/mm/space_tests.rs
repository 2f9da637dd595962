//! The address space against a model that knows nothing but single pages.

use std::{collections::BTreeMap, collections::HashMap, println, vec::Vec};

use super::{
    PhysAddr,
    arena::Arena,
    frames::{Floor, Frames},
    object::ObjectId,
    paging::{PAGE, Prot, Tables, Tlb},
    space::{ADDRESSES, Access, Backing, Error, FaultOutcome, Place, Space},
};

#[derive(Default)]
struct Counted {
    pages: u64,
    all: u64,
}

impl Tlb for Counted {
    fn page(&mut self, _: u64) {
        self.pages += 1;
    }
    fn all(&mut self) {
        self.all += 1;
    }
}

fn space(arena: &Arena) -> Space<Counted> {
    let mut space = Space::new(Counted::default());
    // SAFETY: the arena is this test's, the root a fresh table.
    unsafe {
        space.frames.add(arena.range());
        let root = Tables::make(&mut space.frames).unwrap().root();
        space.init(root);
    }
    space
}

/// splitmix64
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Reads or writes the first word of a page as the CPU would.
fn word(space: &mut Space<Counted>, addr: u64, write: Option<u64>) -> Result<u64, FaultOutcome> {
    let access = if write.is_some() { Access::Write } else { Access::Read };
    match space.fault(addr, access) {
        FaultOutcome::Resolved => {}
        other => return Err(other),
    }
    let at = space.tables().0.translate(addr).expect("resolved, so present").ptr::<u64>();
    // SAFETY: a frame of the arena.
    unsafe {
        if let Some(value) = write {
            at.write(value);
        }
        Ok(at.read())
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Page {
    prot: Prot,
    no_reserve: bool,
    /// Object, page of it, shared.
    object: Option<(ObjectId, u64, bool)>,
    /// What the page itself holds; `None`: zeros, or what the object holds.
    own: Option<u64>,
}

impl Page {
    fn charged(&self) -> bool {
        self.prot.writable() && !self.no_reserve && self.object.is_none_or(|(.., shared)| !shared)
    }
}

struct Model {
    pages: BTreeMap<u64, Page>,
    objects: HashMap<(u32, u64), u64>,
    sizes: HashMap<u32, u64>,
}

impl Model {
    fn committed(&self) -> u64 {
        self.pages.values().filter(|page| page.charged()).count() as u64
    }
    fn resident(&self) -> u64 {
        self.pages.values().filter(|page| page.charged() && page.own.is_some()).count() as u64
    }
    fn free(&self, start: u64, count: u64) -> bool {
        self.pages.range(start..start + count).next().is_none()
    }
    fn value(&self, page: &Page) -> u64 {
        match (page.own, page.object) {
            (Some(own), _) => own,
            (None, Some((id, at, _))) => self.objects.get(&(id.0, at)).copied().unwrap_or(0),
            (None, None) => 0,
        }
    }
    /// Are these pages one area?
    fn uniform(&self, start: u64, count: u64) -> bool {
        let Some(first) = self.pages.get(&start) else { return false };
        (0..count).all(|i| {
            self.pages.get(&(start + i)).is_some_and(|page| {
                (page.prot, page.no_reserve) == (first.prot, first.no_reserve)
                    && page.object == first.object.map(|(id, at, shared)| (id, at + i, shared))
            })
        })
    }
}

const BASE: u64 = ADDRESSES.start / PAGE;
const PROTS: [Prot; 4] = [Prot::NONE, Prot::READ, Prot::READ_WRITE, Prot::READ_EXECUTE];

/// Can this many more pages be promised? The rule in other words.
fn affordable(space: &Space<Counted>, model: &Model, pages: u64) -> bool {
    pages == 0
        || model.committed() - model.resident() + pages + pages / 512 + 3
            <= space.frames.available(Floor::Reserve)
}

fn check(space: &mut Space<Counted>, model: &Model) {
    let now = space.statistics();
    assert_eq!((now.committed, now.resident), (model.committed(), model.resident()));
    for (&at, page) in &model.pages {
        let backed = page.object.is_none_or(|(id, number, _)| number < model.sizes[&id.0].div_ceil(PAGE));
        // A copy made before is there whatever the object's size.
        let want = match (page.prot.readable(), backed || page.own.is_some()) {
            (true, true) => Ok(model.value(page)),
            _ => Err(FaultOutcome::Segv { mapped: true }),
        };
        // Looking at an anonymous page would make it: look only at what should be there.
        if page.own.is_some() || page.object.is_some() || !page.prot.readable() {
            assert_eq!(word(space, at * PAGE, None), want, "page {at:#x}");
        } else {
            assert_eq!(space.tables().0.translate(at * PAGE), None);
        }
        if !page.prot.writable() {
            assert_eq!(space.fault(at * PAGE, Access::Write), FaultOutcome::Segv { mapped: true });
        }
        if !page.prot.executable() {
            assert_eq!(space.fault(at * PAGE, Access::Execute), FaultOutcome::Segv { mapped: true });
        }
    }
}

fn run(seed: u64, operations: u64) {
    println!("seed {seed}");
    let arena = Arena::new(6000);
    let mut space = space(&arena);
    let at_first = space.frames.free();
    let random = &mut Random(seed);
    let mut model = Model { pages: BTreeMap::new(), objects: HashMap::new(), sizes: HashMap::new() };
    let mut objects: Vec<ObjectId> = (0..3)
        .map(|_| {
            let id = space.make_object(0).unwrap();
            space.set_object_size(id, 40 * PAGE).unwrap();
            model.sizes.insert(id.0, 40 * PAGE);
            id
        })
        .collect();
    // The last is lent: it can be neither written nor cut, and must come out of all this as it went in.
    let payload = Arena::new(40);
    let word_of = |page: u64| PhysAddr(payload.range().start + page * PAGE).ptr::<u64>();
    // SAFETY: the arena outlives the space's use of it, and nothing but these lines writes to it.
    let lent = unsafe {
        (0..40).for_each(|page| word_of(page).write(1000 + page));
        space.lend_object(PhysAddr(payload.range().start), 40 * PAGE - 1).unwrap()
    };
    assert_eq!(space.set_object_size(lent, 0), Err(Error::Perm));
    assert_eq!(
        space.map(
            Place::Any,
            PAGE,
            Prot::READ_WRITE,
            true,
            Backing::Object { id: lent, offset: 0, shared: true }
        ),
        Err(Error::Perm)
    );
    model.sizes.insert(lent.0, 40 * PAGE - 1);
    model.objects.extend((0..40).map(|page| ((lent.0, page), 1000 + page)));
    objects.push(lent);
    for step in 0..operations {
        let len = if random.below(40) == 0 { 512 + random.below(700) } else { 1 + random.below(20) };
        let start = BASE + random.below(1400);
        // Mostly aim at what exists.
        let target = match model.pages.range(start..).next() {
            Some((&page, _)) if random.below(4) > 0 => page,
            _ => start,
        };
        match random.below(16) {
            0..=2 => {
                let prot = PROTS[random.below(4) as usize];
                let no_reserve = random.below(5) == 0;
                let object = (random.below(3) == 0).then(|| {
                    let id = objects[random.below(4) as usize];
                    (id, random.below(30), id != lent && random.below(2) == 0)
                });
                let place = match random.below(5) {
                    0 => Place::Any,
                    1 => Place::Aligned(PAGE << random.below(10)),
                    2 => Place::Hint(start * PAGE),
                    3 => Place::Fixed(start * PAGE),
                    _ => Place::FixedNoReplace(start * PAGE),
                };
                let backing = object.map_or(Backing::Anonymous, |(id, at, shared)| Backing::Object {
                    id,
                    offset: at * PAGE,
                    shared,
                });
                let page = Page { prot, no_reserve, object, own: None };
                let can = affordable(&space, &model, if page.charged() { len } else { 0 });
                let got = space.map(place, len * PAGE - random.below(PAGE), prot, no_reserve, backing);
                match (got, place) {
                    (Err(Error::Exist), Place::FixedNoReplace(_)) => assert!(!model.free(start, len)),
                    (Err(Error::NoMem), _) => assert!(!can),
                    (Err(other), _) => panic!("step {step}: map {place:?}: {other:?}"),
                    (Ok(addr), _) => {
                        assert!(can);
                        let at = addr / PAGE;
                        match place {
                            Place::Fixed(want) => assert_eq!(addr, want),
                            Place::Hint(want) if model.free(start, len) => assert_eq!(addr, want),
                            Place::Aligned(align) => assert_eq!(addr % align, 0),
                            _ => {}
                        }
                        assert!(matches!(place, Place::Fixed(_)) || model.free(at, len));
                        for i in 0..len {
                            let object = object.map(|(id, at, shared)| (id, at + i, shared));
                            model.pages.insert(at + i, Page { object, ..page });
                        }
                    }
                }
            }
            3 => {
                space.unmap(target * PAGE, len * PAGE).unwrap();
                for at in target..target + len {
                    model.pages.remove(&at);
                }
            }
            4 | 5 => {
                let prot = PROTS[random.below(4) as usize];
                let whole = (target..target + len).all(|at| model.pages.contains_key(&at));
                let newly = (target..target + len)
                    .filter_map(|at| model.pages.get(&at))
                    .filter(|page| !page.charged() && Page { prot, ..**page }.charged());
                let more = newly.filter(|page| page.own.is_none()).count() as u64;
                let can = affordable(&space, &model, more);
                match space.protect(target * PAGE, len * PAGE, prot) {
                    Ok(()) => {
                        assert!(whole && can);
                        for at in target..target + len {
                            model.pages.get_mut(&at).unwrap().prot = prot;
                        }
                    }
                    Err(error) => {
                        assert_eq!(error, Error::NoMem);
                        assert!(!whole || !can);
                    }
                }
            }
            6 => {
                let whole = (target..target + len).all(|at| model.pages.contains_key(&at));
                assert_eq!(space.dont_need(target * PAGE, len * PAGE).is_ok(), whole);
                for (_, page) in model.pages.range_mut(target..target + len) {
                    page.own = None;
                }
            }
            7..=9 => {
                let new_len = 1 + random.below(if len > 500 { 1500 } else { 40 });
                let one = model.uniform(target, len);
                let fixed = (random.below(4) == 0).then(|| BASE + random.below(1400));
                let charged = one && model.pages[&target].charged();
                let can = affordable(&space, &model, if charged { new_len.saturating_sub(len) } else { 0 });
                let overlap = fixed.is_some_and(|to| to < target + len && target < to + new_len);
                let in_place = model.free(target + len, new_len.saturating_sub(len));
                let got =
                    space.remap(target * PAGE, len * PAGE, new_len * PAGE, true, fixed.map(|to| to * PAGE));
                match got {
                    Err(Error::Fault) => assert!(!one),
                    Err(Error::Inval) => assert!(overlap && one),
                    Err(Error::NoMem) => assert!(!can),
                    Err(other) => panic!("step {step}: remap: {other:?}"),
                    Ok(addr) => {
                        assert!(one && can && !overlap);
                        let to = addr / PAGE;
                        match fixed {
                            Some(want) => assert_eq!(to, want),
                            None if new_len <= len || in_place => assert_eq!(to, target),
                            None => assert!(model.free(to, new_len)),
                        }
                        let moved: Vec<Page> =
                            (0..len).map(|i| model.pages.remove(&(target + i)).unwrap()).collect();
                        for i in 0..new_len {
                            let page = moved.get(i as usize).copied().unwrap_or_else(|| Page {
                                own: None,
                                object: moved[0].object.map(|(id, at, shared)| (id, at + i, shared)),
                                ..moved[0]
                            });
                            model.pages.insert(to + i, page);
                        }
                    }
                }
            }
            10 => {
                let id = objects[random.below(3) as usize];
                let size = random.below(60 * PAGE);
                space.set_object_size(id, size).unwrap();
                let first = size.div_ceil(PAGE);
                let shrunk = size < model.sizes[&id.0];
                model.sizes.insert(id.0, size);
                if shrunk {
                    model.objects.retain(|&(object, at), _| object != id.0 || at < first);
                    for page in model.pages.values_mut() {
                        if page.object.is_some_and(|(object, at, _)| object == id && at >= first) {
                            page.own = None;
                        }
                    }
                    // The word looked at is the page's first: only a cut at a page's start clears it.
                }
            }
            _ => {
                let value = 1 + random.below(1 << 60);
                let write = random.below(3) > 0;
                let got = word(&mut space, target * PAGE, write.then_some(value));
                let Some(page) = model.pages.get(&target).copied() else {
                    assert_eq!(got, Err(FaultOutcome::Segv { mapped: false }));
                    continue;
                };
                let allowed = if write { page.prot.writable() } else { page.prot.readable() };
                let backed = page.object.is_none_or(|(id, at, _)| at < model.sizes[&id.0].div_ceil(PAGE));
                match got {
                    Ok(_) if write => {
                        assert!(allowed && (backed || page.own.is_some()));
                        match page.object {
                            Some((id, at, true)) => {
                                model.objects.insert((id.0, at), value);
                            }
                            _ => model.pages.get_mut(&target).unwrap().own = Some(value),
                        }
                    }
                    Ok(read) => {
                        assert!(allowed && (backed || page.own.is_some()));
                        assert_eq!(read, model.value(&page), "step {step}");
                        if page.object.is_none() {
                            model.pages.get_mut(&target).unwrap().own = Some(read);
                        }
                    }
                    Err(FaultOutcome::OutOfMemory) => {
                        assert!(space.frames.available(Floor::Reserve) == 0, "step {step}");
                    }
                    Err(other) => {
                        assert_eq!(other, FaultOutcome::Segv { mapped: true });
                        assert!(!allowed || !(backed || page.own.is_some()), "step {step}");
                    }
                }
            }
        }
        if step % 997 == 0 {
            check(&mut space, &model);
        }
        if model.pages.len() > 12_000 {
            space.unmap(ADDRESSES.start, ADDRESSES.end - ADDRESSES.start).unwrap();
            model.pages.clear();
        }
    }
    check(&mut space, &model);
    space.unmap(ADDRESSES.start, ADDRESSES.end - ADDRESSES.start).unwrap();
    for id in objects {
        space.release(id);
    }
    // SAFETY: as above.
    let as_it_was = (0..40).all(|page| unsafe { word_of(page).read() } == 1000 + page);
    assert!(as_it_was, "the lent memory was written");
    let end = space.statistics();
    assert_eq!((end.committed, end.resident, end.areas, end.objects), (0, 0, 0, 0));
    assert_eq!(end.free, at_first, "every frame is back, tables and nodes included");
}

#[test]
fn random_operations_agree_with_a_model_of_single_pages() {
    for seed in [1, 2, 3, 4] {
        run(seed, 25_000);
    }
}

/// A walk through most operations, which tells how each ended. `None`: it could not even begin.
fn story(space: &mut Space<Counted>) -> Vec<bool> {
    let mut said = Vec::new();
    let object = space.make_object(0);
    said.push(object.is_ok());
    if let Ok(id) = object {
        said.push(space.set_object_size(id, 8 * PAGE).is_ok());
        said.push(space.object_page_or_make(id, 3).is_ok());
        let backing = Backing::Object { id, offset: 0, shared: false };
        if let Ok(at) = space.map(Place::Any, 8 * PAGE, Prot::READ_WRITE, false, backing) {
            for page in 0..8 {
                said.push(space.fault(at + page * PAGE, Access::Read) == FaultOutcome::Resolved);
                said.push(space.fault(at + page * PAGE, Access::Write) == FaultOutcome::Resolved);
            }
            said.push(space.protect(at + PAGE, PAGE, Prot::READ).is_ok());
        }
        space.release(id);
    }
    for len in [5 * PAGE, 3 << 20] {
        let Ok(at) = space.map(Place::Any, len, Prot::READ_WRITE, false, Backing::Anonymous) else {
            said.push(false);
            continue;
        };
        said.push(space.fault(at, Access::Write) == FaultOutcome::Resolved);
        said.push(space.fault(at + len - 1, Access::Write) == FaultOutcome::Resolved);
        let _ = space.map(Place::FixedNoReplace(at + len), PAGE, Prot::NONE, true, Backing::Anonymous);
        let to = space.remap(at, len, len * 2, true, None);
        said.push(to.is_ok());
        let kept = space.translate_for_test(to.unwrap_or(at)).is_some();
        assert_eq!(kept, said[said.len() - 3], "what was there stays, moved or not");
        said.push(space.unmap(to.unwrap_or(at) + PAGE, PAGE).is_ok());
    }
    said
}

impl Space<Counted> {
    fn translate_for_test(&mut self, addr: u64) -> Option<PhysAddr> {
        self.tables().0.translate(addr)
    }
}

#[test]
fn running_out_at_any_frame_is_an_answer_and_loses_nothing() {
    let arena = Arena::new(8192);
    let mut space = space(&arena);
    let at_first = space.frames.free();
    let mut complete = false;
    for n in 0..400 {
        space.frames.fail_in = n;
        let said = story(&mut space);
        let left = space.frames.fail_in;
        space.frames.fail_in = u64::MAX;
        complete = said.iter().all(|&ok| ok);
        assert!(complete || left < 3000, "failed with {left} left at {n}");
        space.unmap(ADDRESSES.start, ADDRESSES.end - ADDRESSES.start).unwrap();
        let now = space.statistics();
        assert_eq!((now.free, now.committed, now.resident), (at_first, 0, 0), "frame {n}");
        assert_eq!((now.areas, now.objects), (0, 0));
    }
    // Promises are made against all free frames, and `fail_in` counts as those.
    space.frames.fail_in = 5000;
    complete |= story(&mut space).iter().all(|&ok| ok);
    assert!(complete, "the story itself is possible");
}

#[test]
fn promises_are_refused_before_they_are_broken() {
    let arena = Arena::new(1000);
    let mut space = space(&arena);
    let available = space.frames.available(Floor::Reserve);
    let too_much = available * PAGE;
    let map = |space: &mut Space<Counted>, len, prot, no_reserve| {
        space.map(Place::Any, len, prot, no_reserve, Backing::Anonymous)
    };
    assert_eq!(map(&mut space, too_much, Prot::READ_WRITE, false), Err(Error::NoMem));
    // Reservations of terabytes, and what says it is sparse, are free.
    let reserve = map(&mut space, 8 << 40, Prot::NONE, false).unwrap();
    assert!(map(&mut space, too_much, Prot::READ_WRITE, true).is_ok());
    assert_eq!(space.protect(reserve, too_much, Prot::READ_WRITE), Err(Error::NoMem));
    let len = too_much - 20 * PAGE;
    space.protect(reserve, len, Prot::READ_WRITE).unwrap();
    assert_eq!(map(&mut space, 20 * PAGE, Prot::READ_WRITE, false), Err(Error::NoMem));
    // All of what was promised is there.
    for page in 0..len / PAGE {
        assert_eq!(space.fault(reserve + page * PAGE, Access::Write), FaultOutcome::Resolved);
    }
    // The rest ends in words.
    let sparse = map(&mut space, 100 * PAGE, Prot::READ_WRITE, true).unwrap();
    let last = (0..100).map(|page| space.fault(sparse + page * PAGE, Access::Write)).last();
    assert_eq!(last, Some(FaultOutcome::OutOfMemory));
    space.dont_need(reserve, len).unwrap();
    assert_eq!(space.fault(sparse + 99 * PAGE, Access::Write), FaultOutcome::Resolved);
}

#[test]
fn two_thousand_areas_cost_few_steps_and_reservations_no_tables() {
    let arena = Arena::new(4096);
    let mut space = space(&arena);
    let mut all = Vec::new();
    for _ in 0..1000 {
        let at = space.map(Place::Any, 65 * PAGE, Prot::NONE, true, Backing::Anonymous).unwrap();
        space.protect(at + PAGE, 64 * PAGE, Prot::READ_WRITE).unwrap();
        all.push(at);
    }
    assert_eq!(space.statistics().areas, 2000);
    assert_eq!(space.statistics().free + space.statistics().nodes + 1, 4096, "no tables");
    let mut worst = 0;
    let mut measured = |space: &mut Space<Counted>, f: &mut dyn FnMut(&mut Space<Counted>)| {
        let before = space.steps();
        f(space);
        worst = worst.max(space.steps() - before);
    };
    for &at in all.iter().step_by(7) {
        measured(&mut space, &mut |s| assert_eq!(s.fault(at + PAGE, Access::Write), FaultOutcome::Resolved));
        measured(&mut space, &mut |s| s.unmap(at, 65 * PAGE).unwrap());
        measured(&mut space, &mut |s| {
            let again = s.map(Place::Any, 65 * PAGE, Prot::NONE, true, Backing::Anonymous);
            assert_eq!(again, Ok(at), "the hole is used again");
        });
    }
    println!("worst: {worst} nodes looked at");
    assert!(worst < 1000, "{worst} nodes looked at in one operation");
}

#[test]
fn big_blocks_move_by_whole_tables() {
    let arena = Arena::new(8192);
    let mut space = space(&arena);
    let len = 16 << 20;
    let at = space.map(Place::Any, len, Prot::READ_WRITE, false, Backing::Anonymous).unwrap();
    for page in 0..len / PAGE {
        word(&mut space, at + page * PAGE, Some(page)).unwrap();
    }
    let fence = space.map(Place::Any, PAGE, Prot::NONE, false, Backing::Anonymous).unwrap();
    assert_eq!(fence, at + len);
    let before = space.frames.free();
    let to = space.remap(at, len, len + PAGE, true, None).unwrap();
    assert_ne!(to, at);
    assert_eq!(space.frames.free(), before, "no table was made");
    for page in 0..len / PAGE {
        assert_eq!(word(&mut space, to + page * PAGE, None), Ok(page));
    }
}

/// Touches a page as the fault handler has it: true if that was a fault.
fn touch(space: &mut Space<Counted>, addr: u64) -> bool {
    let there = space.tables().0.translate(addr).is_some();
    if !there {
        assert_eq!(space.fault(addr, Access::Write), FaultOutcome::Resolved);
        space.ahead(addr);
    }
    !there
}

fn touch_all(space: &mut Space<Counted>, addr: u64, pages: core::ops::Range<u64>) {
    for page in pages {
        touch(space, addr + page * PAGE);
    }
}

#[test]
fn memory_touched_page_after_page_is_made_ahead() {
    let arena = Arena::new(16384);
    let mut space = space(&arena);
    let map = |space: &mut Space<Counted>, pages: u64, no_reserve| {
        let at = space.map(Place::Any, (pages + 1) * PAGE, Prot::READ_WRITE, no_reserve, Backing::Anonymous);
        // With something in between, or they would be one.
        space.protect(at.unwrap(), PAGE, Prot::NONE).unwrap();
        at.unwrap() + PAGE
    };
    let at = map(&mut space, 1024, false);
    let faults = (0..1024).filter(|page| touch(&mut space, at + page * PAGE)).count();
    assert!(faults < 100, "{faults} faults");
    assert_eq!(space.statistics().resident, 1024, "and not beyond its end");
    for page in 0..1024 {
        assert_eq!(word(&mut space, at + page * PAGE, None), Ok(0));
    }
    // Never more than a quarter for nothing.
    for pages in [1, 2, 3, 4, 10, 40] {
        let at = map(&mut space, 1024, false);
        let before = space.statistics().resident;
        touch_all(&mut space, at, 0..pages);
        let made = space.statistics().resident - before;
        assert!((pages..=pages + pages / 4).contains(&made), "{made} pages for {pages}");
    }
    // Not where it is touched here and there, or downwards.
    let at = map(&mut space, 1024, false);
    let here_and_there = (0..512u64).map(|n| at + 2 * n * PAGE);
    let downwards = (0..512).rev().map(|n| at + (2 * n + 1) * PAGE);
    for addr in here_and_there.chain(downwards) {
        assert!(touch(&mut space, addr), "made for nobody");
    }
    // Where nothing was promised, as long as there is enough for the promises.
    let sparse = map(&mut space, 1024, true);
    let faults = (0..1024).filter(|page| touch(&mut space, sparse + page * PAGE)).count();
    assert!(faults < 100, "{faults} faults");
    space.unmap(sparse, 1024 * PAGE).unwrap();
    let sparse = map(&mut space, 1024, true);
    let now = space.statistics();
    let left = space.frames.available(Floor::Reserve) - (now.committed - now.resident);
    let pages = left - left / 256 - 20;
    let promised = map(&mut space, pages, false);
    touch_all(&mut space, sparse, 0..100);
    touch_all(&mut space, promised, 0..pages);
}

/// What another area promised stays its own.
#[test]
fn what_is_made_ahead_leaves_the_reserve_alone() {
    let arena = Arena::new(256);
    let mut space = space(&arena);
    let len = (space.frames.available(Floor::Reserve) - 10) * PAGE;
    let at = space.map(Place::Any, len, Prot::READ_WRITE, false, Backing::Anonymous).unwrap();
    touch_all(&mut space, at, 0..len / PAGE);
    assert_eq!(space.statistics().resident, len / PAGE);
    space.unmap(at, len).unwrap();
    let now = space.statistics();
    assert_eq!((now.resident, now.committed), (0, 0));
    assert_eq!(now.free + now.nodes + 1, now.total, "all frames are back");
}

#[test]
fn before_init_everything_is_refused() {
    let mut space = Space::new(Counted::default());
    let map = space.map(Place::Any, PAGE, Prot::NONE, true, Backing::Anonymous);
    assert_eq!(map, Err(Error::NoMem));
    assert_eq!(space.fault(ADDRESSES.start, Access::Read), FaultOutcome::Segv { mapped: false });
    assert!(space.make_object(0).is_err());
    assert_eq!(Frames::new().take(Floor::Nothing), None);
}
