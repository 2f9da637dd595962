//! Paths: from the text that a guest gives to a node, never leaving the directory it was given.
//!
//! Promises: [`walk`] goes name by name from `root` and keeps its own list of the directories it came
//! through, so `..` leads back the way it came: no renamed tree and no link can make it lead elsewhere.
//! What would leave `root` (`..` too many, an absolute path, an absolute link) is [`Errno::Perm`],
//! as wasmtime answers. The work is bounded: [`MAX_LINKS`] links of [`MAX_PATH`] bytes.
//!
//! Does not: check rights (the runtimes do), change anything, or hold what it found: a caller that
//! keeps a node calls [`Files::retain`].

use alloc::{borrow::Cow, borrow::ToOwned, string::String, vec::Vec};

use crate::{Errno, FileKind, Files, Node};

/// The longest path, and the longest text of a link, in bytes.
pub const MAX_PATH: usize = 4096;
/// The longest name of one entry, in bytes.
pub const MAX_NAME: usize = 255;
/// How many links one walk follows (Linux's figure).
pub const MAX_LINKS: u32 = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory that holds (or would hold) the last name; the directory itself where `name` is `None`.
    pub dir: Node,
    /// The last name, after links if they were followed. `None`: the path names a directory by way of
    /// itself (`.`, `a/..`, `a/.`), and `node` is `Some`; there is no name to make or remove.
    pub name: Option<String>,
    /// What is there; `None` if nothing is.
    pub node: Option<Node>,
    /// The path (or the last link followed) ends in `/`: only a directory will do. If `node` is `Some`,
    /// it is one; if it is `None`, only a directory may be made here.
    pub trailing_slash: bool,
}

impl Place {
    /// What is there, or [`Errno::Noent`].
    pub fn existing(&self) -> Result<Node, Errno> {
        self.node.ok_or(Errno::Noent)
    }
}

/// Walks `path` from `root`. Links on the way are always followed, the last one if `follow_last` says so
/// or a `/` comes after it.
///
/// Errors: [`Errno::Inval`] for a NUL, [`Errno::Noent`] for an empty path or a missing directory on the
/// way, [`Errno::Nametoolong`], [`Errno::Perm`] for a way out, [`Errno::Notdir`] for a file on the way or
/// before a last `/`, [`Errno::Loop`]; and what `files` answers.
pub fn walk(files: &dyn Files, root: Node, path: &str, follow_last: bool) -> Result<Place, Errno> {
    check(path)?;
    let mut walk =
        Walk { files, root, above: Vec::new(), here: root, todo: Vec::new(), links: 0, slash: false };
    walk.slash = path.ends_with('/');
    // The text in hand. What remains of the texts that led to it by a link waits in `todo`.
    let mut text: Cow<'_, str> = Cow::Borrowed(path);
    let mut at = 0;
    loop {
        let Some((start, end)) = next_name(&text, at) else {
            match walk.todo.pop() {
                Some((outer, then)) => (text, at) = (outer, then),
                // Ended on `.`, `..` or a link to such.
                None => return walk.arrived(),
            }
            continue;
        };
        at = end;
        match &text[start..end] {
            "." => {}
            ".." => walk.up()?,
            name => {
                if name.len() > MAX_NAME {
                    return Err(Errno::Nametoolong);
                }
                let last = walk.is_last(&text, end);
                let found = walk.lookup(name);
                let node = match (found, last) {
                    (Ok(node), _) => node,
                    (Err(Errno::Noent), true) => return Ok(walk.found(name, None)),
                    (Err(error), _) => return Err(error),
                };
                if last && !follow_last && !walk.slash {
                    return Ok(walk.found(name, Some(node)));
                }
                match walk.kind(node)? {
                    FileKind::Directory if last => return Ok(walk.found(name, Some(node))),
                    FileKind::Directory => walk.down(node),
                    FileKind::File if last && !walk.slash => return Ok(walk.found(name, Some(node))),
                    FileKind::File => return Err(Errno::Notdir),
                    FileKind::Symlink => {
                        let target = walk.read_link(node)?;
                        if last {
                            walk.slash |= target.ends_with('/');
                        }
                        let outer = core::mem::replace(&mut text, Cow::Owned(target));
                        if has_more(&outer, end) {
                            walk.todo.push((outer, end));
                        }
                        at = 0;
                    }
                }
            }
        }
    }
}

/// What every path and every link's text has to be.
fn check(path: &str) -> Result<(), Errno> {
    if path.is_empty() {
        return Err(Errno::Noent);
    }
    if path.len() > MAX_PATH {
        return Err(Errno::Nametoolong);
    }
    if path.as_bytes().contains(&0) {
        return Err(Errno::Inval);
    }
    if path.starts_with('/') {
        return Err(Errno::Perm);
    }
    Ok(())
}

/// Where the next name in `text` from `at` on begins and ends.
fn next_name(text: &str, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let start = at + bytes[at..].iter().position(|&byte| byte != b'/')?;
    let end = bytes[start..].iter().position(|&byte| byte == b'/').map_or(bytes.len(), |n| start + n);
    Some((start, end))
}

fn has_more(text: &str, at: usize) -> bool {
    text.as_bytes()[at..].iter().any(|&byte| byte != b'/')
}

struct Walk<'a> {
    files: &'a dyn Files,
    root: Node,
    /// The directories that led here, `root` first. As long as the walk is deep.
    above: Vec<Node>,
    here: Node,
    /// Texts that were left for a link, each with more names in it from that index on.
    todo: Vec<(Cow<'a, str>, usize)>,
    links: u32,
    slash: bool,
}

impl Walk<'_> {
    /// Is nothing left after index `end` of the text in hand? (A `/` may be, a `.` may not.)
    fn is_last(&self, text: &str, end: usize) -> bool {
        self.todo.is_empty() && !has_more(text, end)
    }

    fn up(&mut self) -> Result<(), Errno> {
        self.here = self.above.pop().ok_or(Errno::Perm)?;
        Ok(())
    }

    fn down(&mut self, node: Node) {
        self.above.push(self.here);
        self.here = node;
    }

    fn lookup(&self, name: &str) -> Result<Node, Errno> {
        self.files.lookup(self.here, name).map_err(|error| self.gone(self.here, error))
    }

    fn kind(&self, node: Node) -> Result<FileKind, Errno> {
        Ok(self.files.stat(node).map_err(|error| self.gone(node, error))?.kind)
    }

    fn read_link(&mut self, node: Node) -> Result<String, Errno> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::Loop);
        }
        let target = self.files.read_link(node).map_err(|error| self.gone(node, error))?;
        check(&target)?;
        Ok(target)
    }

    /// A node that another guest removed while we walked is a name that is not there, not a bad descriptor.
    fn gone(&self, node: Node, error: Errno) -> Errno {
        if error == Errno::Badf && node != self.root { Errno::Noent } else { error }
    }

    fn found(&self, name: &str, node: Option<Node>) -> Place {
        Place { dir: self.here, name: Some(name.to_owned()), node, trailing_slash: self.slash }
    }

    fn arrived(&self) -> Result<Place, Errno> {
        // `.` alone would not notice that `root` is no directory.
        if self.above.is_empty() && self.files.stat(self.root)?.kind != FileKind::Directory {
            return Err(Errno::Notdir);
        }
        Ok(Place { dir: self.here, name: None, node: Some(self.here), trailing_slash: self.slash })
    }
}

#[cfg(test)]
mod tests;
