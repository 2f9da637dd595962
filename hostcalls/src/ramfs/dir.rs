//! What a directory holds: names, and the order in which they are listed.
//!
//! Promises: a cookie names one entry for good. It is never given again, and it stays with a *name* when
//! `rename` replaces what is behind it: so whoever lists the directory meanwhile sees no name twice and
//! misses none that stayed.

use alloc::{collections::BTreeMap, sync::Arc};

use crate::Node;

pub(super) struct Dir {
    /// The directory above; a mount's hidden root is its own. Only `rename` asks.
    pub(super) parent: Node,
    names: BTreeMap<Arc<str>, Entry>,
    listing: BTreeMap<u64, Arc<str>>,
    next_cookie: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    node: Node,
    cookie: u64,
}

impl Dir {
    pub(super) fn new(parent: Node) -> Self {
        Self { parent, names: BTreeMap::new(), listing: BTreeMap::new(), next_cookie: 1 }
    }

    pub(super) fn get(&self, name: &str) -> Option<Node> {
        self.names.get(name).map(|entry| entry.node)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds a name, or puts another node behind one that is there.
    pub(super) fn put(&mut self, name: &str, node: Node) {
        if let Some(entry) = self.names.get_mut(name) {
            entry.node = node;
            return;
        }
        let name: Arc<str> = name.into();
        let cookie = self.next_cookie;
        self.next_cookie += 1;
        self.listing.insert(cookie, name.clone());
        self.names.insert(name, Entry { node, cookie });
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(entry) = self.names.remove(name) {
            self.listing.remove(&entry.cookie);
        }
    }

    pub(super) fn after(&self, cookie: u64) -> Option<(&str, Node, u64)> {
        let (&cookie, name) = self.listing.range(cookie.checked_add(1)?..).next()?;
        let entry = self.names.get(name)?;
        Some((name, entry.node, cookie))
    }
}
