//! Paths of the guest: which of its directories a path lies in, and where.
//!
//! The working directory is `/`. `.` and `..` are resolved by their text, before links, and `/..` is `/`; so a path names
//! the deepest of the guest's directories above it, whatever else is mounted on the way.

use std::sync::Arc;

use lunette_hostcalls::{
    Ctx, Errno, FileKind, Files, NewNode, Node,
    path::{self, Place},
};

/// A place in one of the guest's file systems.
pub(super) struct Spot {
    pub(super) files: Arc<dyn Files>,
    pub(super) place: Place,
}

impl Spot {
    pub(super) fn find(ctx: &Ctx, path: &str, follow: bool) -> Result<Self, Errno> {
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        let names = names(path);
        let within = |name: &str| {
            let root = self::names(name);
            names.starts_with(&root).then_some(root.len())
        };
        let (depth, preopen) = ctx
            .preopens
            .iter()
            .filter_map(|preopen| Some((within(&preopen.name)?, preopen)))
            .max_by_key(|(depth, _)| *depth)
            .ok_or(Errno::Noent)?;
        let mut rest = names[depth..].join("/");
        if rest.is_empty() {
            rest.push('.');
        } else if path.ends_with('/') {
            rest.push('/');
        }
        let place = path::walk(&*preopen.files, preopen.root, &rest, follow)?;
        Ok(Self { files: preopen.files.clone(), place })
    }

    /// What is there, or a new file.
    pub(super) fn create(&self, now: u64) -> Result<Node, Errno> {
        match (self.place.node, &self.place.name) {
            (Some(node), _) => Ok(node),
            (None, Some(name)) if !self.place.trailing_slash => {
                self.files.create(self.place.dir, name, NewNode::File, now)
            }
            (None, _) => Err(Errno::Isdir),
        }
    }
}

/// The names on the way from `/`, without `.` and `..`.
fn names(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

/// A whole file: a module, say. [`Errno::Nomem`]: it has more than `most` bytes.
pub(super) fn read(ctx: &Ctx, path: &str, most: u64) -> Result<Vec<u8>, Errno> {
    let spot = Spot::find(ctx, path, true)?;
    let node = spot.place.existing()?;
    let stat = spot.files.stat(node)?;
    if stat.kind == FileKind::Directory {
        return Err(Errno::Isdir);
    }
    if stat.size > most {
        return Err(Errno::Nomem);
    }
    let mut text = vec![0; stat.size as usize];
    let mut had = 0;
    while had < text.len() {
        match spot.files.read_at(node, had as u64, &mut text[had..])? {
            0 => break,
            n => had += n,
        }
    }
    text.truncate(had);
    Ok(text)
}

/// Could it be read?
pub(super) fn readable(ctx: &Ctx, path: &str) -> bool {
    Spot::find(ctx, path, true).is_ok_and(|spot| spot.place.node.is_some())
}
