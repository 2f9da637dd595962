//! The other side, for tests: a hypervisor that counts, a backend of a ring, a store's daemon.

use std::{cell::RefCell, collections::BTreeMap, ptr::NonNull, rc::Rc};

use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use super::{Hypervisor, PAGE, ring::SLOTS};

/// Frame numbers have 32 bits, a test's pages addresses of 47: so physical addresses are made up.
pub(super) struct LowHal;

static PLACES: std::sync::Mutex<BTreeMap<u64, usize>> = std::sync::Mutex::new(BTreeMap::new());

/// Where a frame is.
pub(super) fn frame_at(frame: u32) -> NonNull<u8> {
    let at = PLACES.lock().expect("no test panicked in here")[&u64::from(frame)];
    NonNull::new(core::ptr::with_exposed_provenance_mut(at)).expect("a page")
}

// SAFETY: whole zeroed pages of the test's own heap; nobody uses their made-up addresses but to look them up.
unsafe impl Hal for LowHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let all = Box::leak(vec![0_u8; (pages + 1) * PAGE].into_boxed_slice());
        let at = NonNull::from(all).cast::<u8>();
        // SAFETY: there is a page more than is asked for.
        let at = unsafe { at.add(at.as_ptr().align_offset(PAGE)) };
        let mut places = PLACES.lock().expect("no test panicked in here");
        let first = places.keys().next_back().map_or(0x100, |last| last + 1);
        places.extend((0..pages).map(|i| (first + i as u64, at.as_ptr().expose_provenance() + i * PAGE)));
        (first * PAGE as u64, at)
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        panic!("what was granted is never given back")
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("there are no registers in memory")
    }

    unsafe fn share(_: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        unreachable!("buffers are granted")
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}

/// A zeroed page. It is never freed: both sides keep pointers.
pub(super) fn page() -> NonNull<u8> {
    #[repr(align(4096))]
    struct Page([u8; PAGE]);
    NonNull::from(Box::leak(Box::new(Page([0; PAGE])))).cast()
}

pub(super) fn bytes(page: NonNull<u8>, at: usize, count: usize) -> Vec<u8> {
    assert!(at + count <= PAGE);
    // SAFETY: within a page of the test's.
    (0..count).map(|i| unsafe { page.add(at + i).read_volatile() }).collect()
}

fn word(page: NonNull<u8>, at: usize) -> u32 {
    u32::from_le_bytes(bytes(page, at, 4).try_into().expect("4 bytes"))
}

fn set_word(page: NonNull<u8>, at: usize, value: u32) {
    assert!(at + 4 <= PAGE);
    // SAFETY: as above; aligned, for pages are and the offsets used here.
    unsafe { page.add(at).cast::<u32>().write_volatile(value) };
}

/// The side of a ring that answers.
pub(super) struct Backend<const SLOT: usize> {
    page: NonNull<u8>,
    taken: u32,
    answered: u32,
}

impl<const SLOT: usize> Backend<SLOT> {
    pub(super) fn new(page: NonNull<u8>) -> Self {
        Self { page, taken: 0, answered: 0 }
    }

    fn slot(&self, index: u32) -> NonNull<[u8; SLOT]> {
        // SAFETY: within the page.
        unsafe { self.page.add(64 + (index % SLOTS) as usize * SLOT).cast() }
    }

    /// The next request, and it waits for another.
    pub(super) fn next(&mut self) -> Option<[u8; SLOT]> {
        if word(self.page, 0) == self.taken {
            return None;
        }
        // SAFETY: a slot of the ring.
        let request = unsafe { self.slot(self.taken).read() };
        self.taken = self.taken.wrapping_add(1);
        set_word(self.page, 4, self.taken.wrapping_add(1));
        Some(request)
    }

    /// Answers; true: the other side wants to be notified.
    pub(super) fn answer(&mut self, response: [u8; SLOT]) -> bool {
        // SAFETY: a slot of the ring.
        unsafe { self.slot(self.answered).write(response) };
        self.answered = self.answered.wrapping_add(1);
        set_word(self.page, 8, self.answered);
        word(self.page, 12) == self.answered
    }

    /// Says that so many were answered in all.
    pub(super) fn claim(&mut self, answered: u32) {
        set_word(self.page, 8, answered);
    }
}

/// What both sides see of the rest.
#[derive(Default)]
pub(super) struct World {
    pub(super) notified: Vec<u32>,
    now: u64,
    pub(super) store: Option<Daemon>,
}

/// The hypervisor. Clones are the same one. While the guest waits, the daemon works.
#[derive(Clone, Default)]
pub(super) struct Fake(pub(super) Rc<RefCell<World>>);

impl Hypervisor for Fake {
    fn notify(&self, port: u32) {
        self.0.borrow_mut().notified.push(port);
    }

    fn offer(&self, peer: u16) -> Option<u32> {
        (peer != 13).then_some(5)
    }

    fn pause(&self) {
        let mut world = self.0.borrow_mut();
        world.now += 1_000_000;
        if let Some(daemon) = &mut world.store {
            daemon.work();
        }
    }

    fn now(&self) -> u64 {
        self.0.borrow().now
    }
}

/// xenstored, for one domain.
pub(super) struct Daemon {
    page: NonNull<u8>,
    pub(super) tree: BTreeMap<String, String>,
    watches: Vec<(String, String)>,
    /// When the first path is written, the second gets a value.
    pub(super) reactions: Vec<(String, String, String)>,
    request: Vec<u8>,
    /// Bytes on their way, a few at a time.
    pub(super) out: Vec<u8>,
    pub(super) step: usize,
}

impl Daemon {
    pub(super) fn new(page: NonNull<u8>, tree: &[(&str, &str)]) -> Self {
        let tree = tree.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
        Self {
            page,
            tree,
            watches: Vec::new(),
            reactions: Vec::new(),
            request: Vec::new(),
            out: Vec::new(),
            step: 7,
        }
    }

    fn work(&mut self) {
        let (mut consumed, produced) = (word(self.page, 2048), word(self.page, 2052));
        while consumed != produced {
            self.request.extend(bytes(self.page, (consumed % 1024) as usize, 1));
            consumed = consumed.wrapping_add(1);
            let length = self.request.get(12..16).map(|l| u32::from_le_bytes(l.try_into().expect("4")));
            if length.is_some_and(|length| self.request.len() == 16 + length as usize) {
                let request = std::mem::take(&mut self.request);
                self.answer(&request);
            }
        }
        set_word(self.page, 2048, consumed);
        let (consumed, mut produced) = (word(self.page, 2056), word(self.page, 2060));
        for _ in 0..self.step {
            if self.out.is_empty() || produced.wrapping_sub(consumed) >= 1024 {
                break;
            }
            // SAFETY: within the page's second KiB.
            unsafe { self.page.add(1024 + (produced % 1024) as usize).write_volatile(self.out.remove(0)) };
            produced = produced.wrapping_add(1);
        }
        set_word(self.page, 2060, produced);
    }

    pub(super) fn say(&mut self, kind: u32, id: u32, payload: &[u8]) {
        for word in [kind, id, 0, payload.len() as u32] {
            self.out.extend(word.to_le_bytes());
        }
        self.out.extend_from_slice(payload);
    }

    pub(super) fn set(&mut self, path: &str, value: &str) {
        self.tree.insert(path.to_owned(), value.to_owned());
        for (watched, token) in self.watches.clone() {
            if path.starts_with(&watched) {
                self.say(15, 0, format!("{path}\0{token}\0").as_bytes());
            }
        }
        for (written, other, value) in self.reactions.clone() {
            if written == path {
                self.set(&other, &value);
            }
        }
    }

    fn answer(&mut self, request: &[u8]) {
        let (kind, id) = (u32::from_le_bytes(request[..4].try_into().expect("4")), request[4..8].to_vec());
        let id = u32::from_le_bytes(id.try_into().expect("4"));
        let parts: Vec<String> =
            request[16..].split(|byte| *byte == 0).map(|p| String::from_utf8_lossy(p).into()).collect();
        match kind {
            2 => match self.tree.get(&parts[0]).cloned() {
                Some(value) => self.say(2, id, value.as_bytes()),
                None => self.say(16, id, b"ENOENT\0"),
            },
            4 => {
                self.say(4, id, b"OK\0");
                self.say(15, 0, format!("{}\0{}\0", parts[0], parts[1]).as_bytes());
                self.watches.push((parts[0].clone(), parts[1].clone()));
            }
            11 if parts[0].starts_with("forbidden") => self.say(16, id, b"EACCES\0"),
            11 => {
                self.say(11, id, b"OK\0");
                self.set(&parts[0], &parts[1]);
            }
            _ => self.say(16, id, b"EINVAL\0"),
        }
    }
}
