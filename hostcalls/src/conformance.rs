//! What every host's [`Ctx`] has to hold: one list, run in the fake world, in the kernel, and in a
//! process. A second list, [`NET_CHECKS`], is for its [`crate::Net`].
//!
//! Promises: a check leaves nothing behind in the file system, works in a directory of its own below the
//! writable preopen, and says in one line what was wrong. Checks do not panic.
//!
//! Does not: feed standard input (what is there is looked at, never taken), or fill a disk (a host may
//! have no limit). It writes nothing to the two ways out but empty buffers.

use alloc::{collections::BTreeSet, format, string::String, sync::Arc, vec, vec::Vec};

use crate::{
    Ctx, DirEntry, Errno, FileKind, Files, Nanos, NewNode, Node, Preopen, Stream,
    path::{MAX_NAME, walk},
};

pub use network::{NET_CHECKS, NetCheck, NetWorld, run_network};

/// One check: its name, and what it does.
pub type Check = (&'static str, fn(&Ctx) -> Result<(), String>);

/// The list. It needs preopens named `/` (read-only) and `/tmp` (writable).
pub const CHECKS: &[Check] = &[
    ("the monotonic clock never goes back", clock_monotone),
    ("the clock's resolution is a positive number", clock_resolution),
    ("the wall clock, if any, shows this century", clock_wall),
    ("random bytes fill the buffer and differ", random_differs),
    ("standard input is looked at without taking", stdio_look),
    ("writing nothing to a stream is fine", stdio_empty_write),
    ("the preopens are directories", preopens_are_directories),
    ("the root can't be changed", root_is_read_only),
    ("a file is made, written, read and removed", file_round_trip),
    ("names that break the rules are refused", names_refused),
    ("taken and missing names are told apart", names_taken_and_missing),
    ("writes past the end leave zeros", sparse),
    ("a file is cut and lengthened", truncate),
    ("a hard link is the same file", hard_links),
    ("links are read, and not followed below", symlinks),
    ("rename replaces what it may", rename_replaces),
    ("rename refuses what it must", rename_refuses),
    ("directories are made and removed", directories),
    ("an unlinked file lives while it is held", unlinked_but_held),
    ("a listing is complete", listing_complete),
    ("a listing bears changes", listing_bears_changes),
    ("times are kept and set", times),
    ("no path leaves its preopen", escapes),
    ("what can't be is an error, not a panic", nonsense),
];

/// Runs them all, in order, and says how many failed.
pub fn run_all(ctx: &Ctx, report: &mut dyn FnMut(&str, Result<(), String>)) -> usize {
    let mut failed = 0;
    for (name, check) in CHECKS {
        let result = check(ctx);
        failed += usize::from(result.is_err());
        report(name, result);
    }
    failed
}

type Outcome = Result<(), String>;

/// Two values must be equal.
macro_rules! same {
    ($left:expr, $right:expr, $what:expr) => {{
        let (left, right) = (&$left, &$right);
        if left != right {
            return Err(format!("{}: found {left:?}, expected {right:?}", $what));
        }
    }};
}

macro_rules! holds {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}

// Below the macros, which it uses.
mod network;

#[cfg(test)]
mod flaws;

/// Gives an error a place.
trait At<T> {
    fn at(self, what: &str) -> Result<T, String>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, what: &str) -> Result<T, String> {
        self.map_err(|error| format!("{what}: {error:?} ({error})"))
    }
}

fn clock_monotone(ctx: &Ctx) -> Outcome {
    let mut last = ctx.clock.monotonic();
    for _ in 0..1000 {
        let now = ctx.clock.monotonic();
        holds!(now >= last, "went from {last} to {now}");
        last = now;
    }
    Ok(())
}

fn clock_resolution(ctx: &Ctx) -> Outcome {
    let resolution = ctx.clock.resolution();
    holds!((1..=1_000_000_000).contains(&resolution), "{resolution} ns");
    Ok(())
}

fn clock_wall(ctx: &Ctx) -> Outcome {
    // 2020 to 2100.
    const PLAUSIBLE: core::ops::Range<Nanos> = 1_577_836_800_000_000_000..4_102_444_800_000_000_000;
    if let Some(wall) = ctx.clock.wall() {
        holds!(PLAUSIBLE.contains(&wall), "{wall} ns since 1970");
    }
    Ok(())
}

fn random_differs(ctx: &Ctx) -> Outcome {
    let (mut one, mut two) = ([0u8; 64], [0u8; 64]);
    ctx.random.fill(&mut one).at("first fill")?;
    ctx.random.fill(&mut two).at("second fill")?;
    holds!(one != two, "the same 64 bytes twice");
    for half in one.chunks(32).chain(two.chunks(32)) {
        holds!(half.iter().any(|&byte| byte != 0), "32 zeros in a row");
    }
    ctx.random.fill(&mut []).at("an empty fill")?;
    // Odd lengths are filled to the end: 16 tries at a last byte that isn't 0.
    let mut tail = false;
    for _ in 0..16 {
        let mut odd = [0u8; 37];
        ctx.random.fill(&mut odd).at("an odd fill")?;
        tail |= odd[36] != 0;
    }
    holds!(tail, "the last of 37 bytes is never filled");
    Ok(())
}

fn stdio_look(ctx: &Ctx) -> Outcome {
    let first = ctx.stdio.input();
    let second = ctx.stdio.input();
    holds!(second.bytes >= first.bytes, "a look took {} bytes", first.bytes - second.bytes);
    holds!(!first.hangup || second.hangup, "a hang-up was taken back");
    match ctx.stdio.read(&mut []) {
        Ok(0) | Err(Errno::Again) => Ok(()),
        other => Err(format!("an empty read: {other:?}")),
    }
}

fn stdio_empty_write(ctx: &Ctx) -> Outcome {
    for stream in [Stream::Out, Stream::Err] {
        same!(ctx.stdio.write(stream, b""), Ok(0), format!("{stream:?}"));
    }
    Ok(())
}

fn preopens_are_directories(ctx: &Ctx) -> Outcome {
    for preopen in &ctx.preopens {
        let stat = preopen.files.stat(preopen.root).at(&preopen.name)?;
        same!(stat.kind, FileKind::Directory, preopen.name);
        holds!(stat.inode != 0, "{}: inode 0", preopen.name);
    }
    Ok(())
}

fn root_is_read_only(ctx: &Ctx) -> Outcome {
    let Preopen { files, root, .. } = preopen(ctx, "/")?;
    let now = now(ctx);
    holds!(!files.writable(*root), "says it is writable");
    for new in [NewNode::File, NewNode::Directory, NewNode::Symlink("x")] {
        same!(files.create(*root, "conformance", new, now), Err(Errno::Rofs), format!("create {new:?}"));
    }
    same!(files.set_times(*root, Some(1), None, now), Err(Errno::Rofs), "set_times");
    let listing = list(&**files, *root)?;
    let Some(entry) = listing.iter().find(|entry| entry.kind == FileKind::File) else { return Ok(()) };
    let (node, name) = (entry.node, entry.name.as_str());
    same!(files.write_at(node, 0, b"x", now), Err(Errno::Rofs), "write_at");
    same!(files.set_size(node, 0, now), Err(Errno::Rofs), "set_size");
    same!(files.unlink(*root, name, now), Err(Errno::Rofs), "unlink");
    same!(files.rename(*root, name, *root, "conformance", now), Err(Errno::Rofs), "rename");
    same!(files.link(node, *root, "conformance", now), Err(Errno::Rofs), "link");
    Ok(())
}

fn file_round_trip(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        let file = files.create(dir, "file", NewNode::File, now).at("create")?;
        same!(files.lookup(dir, "file"), Ok(file), "lookup");
        let data: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        for (index, piece) in data.chunks(777).enumerate() {
            write_all(files, file, index as u64 * 777, piece, now)?;
        }
        holds!(read_all(files, file)? == data, "read back something else");
        write_all(files, file, 40_000, b"over", now)?;
        let mut buf = [0; 6];
        same!(files.read_at(file, 39_999, &mut buf), Ok(6), "read_at");
        same!(buf, [data[39_999], b'o', b'v', b'e', b'r', data[40_004]], "overwritten bytes");
        same!(files.read_at(file, 100_000, &mut buf), Ok(0), "read at the end");
        same!(files.read_at(file, u64::MAX, &mut buf), Ok(0), "read far past the end");
        let stat = files.stat(file).at("stat")?;
        same!((stat.size, stat.kind, stat.links), (100_000, FileKind::File, 1), "stat");
        files.unlink(dir, "file", now).at("unlink")?;
        same!(files.lookup(dir, "file"), Err(Errno::Noent), "lookup after unlink");
        Ok(())
    })
}

fn names_refused(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        for name in ["", ".", "..", "a/b", "/", "a\0b"] {
            let made = files.create(dir, name, NewNode::File, now);
            holds!(made.is_err(), "made {name:?}");
        }
        let long = "n".repeat(MAX_NAME + 1);
        same!(files.create(dir, &long, NewNode::File, now), Err(Errno::Nametoolong), "256 bytes");
        let longest = &long[..MAX_NAME];
        files.create(dir, longest, NewNode::File, now).at("255 bytes")?;
        same!(files.rename(dir, longest, dir, &long, now), Err(Errno::Nametoolong), "rename to 256 bytes");
        for name in ["a\\b", " ", "…", "-", "a\nb"] {
            files.create(dir, name, NewNode::File, now).at(name)?;
        }
        Ok(())
    })
}

fn names_taken_and_missing(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        let file = files.create(dir, "file", NewNode::File, now).at("create")?;
        for new in [NewNode::File, NewNode::Directory, NewNode::Symlink("x")] {
            same!(files.create(dir, "file", new, now), Err(Errno::Exist), format!("create {new:?}"));
        }
        same!(files.link(file, dir, "file", now), Err(Errno::Exist), "link");
        same!(files.lookup(dir, "none"), Err(Errno::Noent), "lookup");
        same!(files.unlink(dir, "none", now), Err(Errno::Noent), "unlink");
        same!(files.remove_directory(dir, "none", now), Err(Errno::Noent), "remove_directory");
        same!(files.rename(dir, "none", dir, "file", now), Err(Errno::Noent), "rename");
        same!(files.lookup(file, "x"), Err(Errno::Notdir), "lookup in a file");
        same!(files.create(file, "x", NewNode::File, now), Err(Errno::Notdir), "create in a file");
        same!(files.entry_after(file, 0), Err(Errno::Notdir), "listing a file");
        Ok(())
    })
}

fn sparse(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        let file = files.create(dir, "sparse", NewNode::File, now).at("create")?;
        const FAR: u64 = 1 << 40;
        write_all(files, file, FAR, b"end", now)?;
        same!(files.stat(file).at("stat")?.size, FAR + 3, "size");
        let mut buf = vec![1; 70_000];
        for offset in [0, 12_345, FAR / 2, FAR - 70_000] {
            buf.fill(1);
            same!(files.read_at(file, offset, &mut buf), Ok(70_000), "read_at");
            holds!(buf.iter().all(|&byte| byte == 0), "no zeros at {offset}");
        }
        same!(files.read_at(file, FAR - 1, &mut buf), Ok(4), "read over the edge");
        same!(&buf[..4], b"\0end", "the edge");
        same!(files.write_at(file, u64::MAX, b"x", now), Err(Errno::Fbig), "write at the end of numbers");
        Ok(())
    })
}

fn truncate(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        let file = files.create(dir, "file", NewNode::File, now).at("create")?;
        write_all(files, file, 0, &[7; 50_000], now)?;
        files.set_size(file, 20_001, now).at("cut")?;
        files.set_size(file, 60_000, now).at("lengthen")?;
        let data = read_all(files, file)?;
        same!(data.len(), 60_000, "length");
        holds!(data[..20_001].iter().all(|&byte| byte == 7), "what stayed has changed");
        holds!(data[20_001..].iter().all(|&byte| byte == 0), "what was cut came back");
        files.set_size(file, 0, now).at("empty")?;
        same!(read_all(files, file)?, Vec::<u8>::new(), "emptied");
        holds!(files.set_size(file, u64::MAX, now).is_err(), "made as long as numbers go");
        Ok(())
    })
}

fn hard_links(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        let file = files.create(dir, "one", NewNode::File, now).at("create")?;
        files.link(file, dir, "two", now).at("link")?;
        same!(files.lookup(dir, "two"), Ok(file), "lookup");
        same!(files.stat(file).at("stat")?.links, 2, "links");
        files.unlink(dir, "one", now).at("unlink")?;
        same!(files.stat(file).at("stat")?.links, 1, "links after unlink");
        same!(files.link(dir, dir, "dir", now), Err(Errno::Perm), "link to a directory");
        Ok(())
    })
}

fn symlinks(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        for (name, target) in [("rel", "a/../b"), ("abs", "/etc/passwd"), ("up", "../.."), ("self", "self")] {
            let link = files.create(dir, name, NewNode::Symlink(target), now).at(name)?;
            same!(files.read_link(link), Ok(String::from(target)), name);
            let stat = files.stat(link).at(name)?;
            same!((stat.kind, stat.size), (FileKind::Symlink, target.len() as u64), name);
            same!(files.lookup(dir, name), Ok(link), name);
        }
        same!(files.read_link(dir), Err(Errno::Inval), "read_link of a directory");
        same!(walk(files, dir, "self", true), Err(Errno::Loop), "walking a loop");
        Ok(())
    })
}

fn rename_replaces(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        let sub = files.create(dir, "sub", NewNode::Directory, now).at("create sub")?;
        let one = files.create(dir, "one", NewNode::File, now).at("create one")?;
        files.create(sub, "two", NewNode::File, now).at("create two")?;
        files.rename(dir, "one", sub, "two", now).at("file over file")?;
        same!(files.lookup(sub, "two"), Ok(one), "the file moved");
        same!(files.lookup(dir, "one"), Err(Errno::Noent), "the old name");
        files.link(one, dir, "again", now).at("link")?;
        files.rename(dir, "again", sub, "two", now).at("two names of one file")?;
        same!(files.lookup(dir, "again"), Ok(one), "nothing to do");
        let full = files.create(dir, "full", NewNode::Directory, now).at("create full")?;
        files.create(full, "file", NewNode::File, now).at("create full/file")?;
        files.create(sub, "empty", NewNode::Directory, now).at("create empty")?;
        same!(files.stat(dir).at("stat")?.links, 4, "links before");
        files.rename(dir, "full", sub, "empty", now).at("directory over empty directory")?;
        same!(files.lookup(sub, "empty"), Ok(full), "the directory moved");
        same!(files.stat(dir).at("stat")?.links, 3, "links of the old parent");
        same!(files.stat(sub).at("stat")?.links, 3, "links of the new parent");
        Ok(())
    })
}

fn rename_refuses(ctx: &Ctx) -> Outcome {
    let elsewhere = preopen(ctx, "/")?.root;
    in_scratch(ctx, |files, dir, now| {
        let a = files.create(dir, "a", NewNode::Directory, now).at("create a")?;
        let b = files.create(a, "b", NewNode::Directory, now).at("create b")?;
        let file = files.create(dir, "file", NewNode::File, now).at("create file")?;
        same!(files.rename(dir, "a", b, "a", now), Err(Errno::Inval), "below itself");
        same!(files.rename(dir, "a", a, "a", now), Err(Errno::Inval), "into itself");
        same!(files.rename(a, "b", dir, "a", now), Err(Errno::Notempty), "over its parent");
        same!(files.rename(dir, "file", dir, "a", now), Err(Errno::Isdir), "file over directory");
        same!(files.rename(dir, "a", dir, "file", now), Err(Errno::Notdir), "directory over file");
        files.create(b, "x", NewNode::File, now).at("create x")?;
        files.create(dir, "c", NewNode::Directory, now).at("create c")?;
        same!(files.rename(dir, "c", a, "b", now), Err(Errno::Notempty), "over a full directory");
        let across = files.rename(dir, "file", elsewhere, "file", now);
        holds!(matches!(across, Err(Errno::Xdev | Errno::Rofs | Errno::Badf)), "across: {across:?}");
        same!(files.lookup(dir, "file"), Ok(file), "what was refused");
        Ok(())
    })
}

fn directories(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        same!(files.stat(dir).at("stat")?.links, 2, "links of an empty directory");
        let sub = files.create(dir, "sub", NewNode::Directory, now).at("create")?;
        same!(files.stat(dir).at("stat")?.links, 3, "links with one directory in it");
        files.create(sub, "file", NewNode::File, now).at("create file")?;
        same!(files.remove_directory(dir, "sub", now), Err(Errno::Notempty), "a full one");
        same!(files.unlink(dir, "sub", now), Err(Errno::Isdir), "unlink of a directory");
        same!(files.remove_directory(sub, "file", now), Err(Errno::Notdir), "remove_directory of a file");
        files.unlink(sub, "file", now).at("unlink")?;
        files.remove_directory(dir, "sub", now).at("remove")?;
        same!(files.stat(dir).at("stat")?.links, 2, "links afterwards");
        let mut buf = [0; 4];
        same!(files.read_at(dir, 0, &mut buf), Err(Errno::Isdir), "read_at of a directory");
        Ok(())
    })
}

fn unlinked_but_held(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        let file = files.create(dir, "file", NewNode::File, now).at("create")?;
        write_all(files, file, 0, b"still here", now)?;
        files.retain(file);
        files.unlink(dir, "file", now).at("unlink")?;
        same!(files.stat(file).at("stat")?.links, 0, "links");
        same!(read_all(files, file)?, b"still here".to_vec(), "contents");
        write_all(files, file, 10, b"!", now)?;
        same!(files.link(file, dir, "back", now), Err(Errno::Noent), "a new name for the nameless");
        files.release(file);
        same!(files.stat(file).map(|_| ()), Err(Errno::Badf), "after the last release");
        let sub = files.create(dir, "sub", NewNode::Directory, now).at("create sub")?;
        files.retain(sub);
        files.remove_directory(dir, "sub", now).at("remove")?;
        same!(files.create(sub, "x", NewNode::File, now), Err(Errno::Noent), "create in a removed one");
        same!(files.entry_after(sub, 0), Ok(None), "listing a removed one");
        files.release(sub);
        Ok(())
    })
}

fn listing_complete(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        same!(files.entry_after(dir, 0), Ok(None), "an empty directory");
        let mut made = BTreeSet::new();
        for n in 0..500 {
            let name = format!("entry-{n}");
            let new = if n % 7 == 0 { NewNode::Directory } else { NewNode::File };
            files.create(dir, &name, new, now).at(&name)?;
            made.insert(name);
        }
        let listing = list(files, dir)?;
        same!(listing.len(), made.len(), "entries");
        for entry in &listing {
            holds!(made.remove(&entry.name), "{:?} is not ours, or came twice", entry.name);
            same!(files.lookup(dir, &entry.name), Ok(entry.node), entry.name);
            same!(files.stat(entry.node).at("stat")?.kind, entry.kind, entry.name);
        }
        // A cookie leads to the same place again.
        let again = files.entry_after(dir, listing[99].cookie).at("entry_after")?;
        same!(again.as_ref(), Some(&listing[100]), "a cookie used twice");
        same!(files.entry_after(dir, u64::MAX), Ok(None), "past all cookies");
        Ok(())
    })
}

fn listing_bears_changes(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        for n in 0..100 {
            files.create(dir, &format!("stays-{n}"), NewNode::File, now).at("create")?;
            files.create(dir, &format!("goes-{n}"), NewNode::File, now).at("create")?;
        }
        let mut seen = BTreeSet::new();
        let mut cookie = 0;
        let mut step = 0;
        while let Some(entry) = files.entry_after(dir, cookie).at("entry_after")? {
            cookie = entry.cookie;
            holds!(seen.insert(entry.name.clone()), "{:?} came twice", entry.name);
            if step < 100 {
                // Also takes away the entry that the cookie stands for.
                files.unlink(dir, &format!("goes-{step}"), now).at("unlink")?;
                files.create(dir, &format!("new-{step}"), NewNode::File, now).at("create")?;
            }
            step += 1;
            holds!(step < 1000, "no end");
        }
        for n in 0..100 {
            holds!(seen.contains(&format!("stays-{n}")), "stays-{n} was left out");
        }
        Ok(())
    })
}

fn times(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, _| {
        const S: Nanos = 1_000_000_000;
        let read = |node: Node| files.stat(node).map(|stat| (stat.accessed, stat.modified, stat.changed));
        let file = files.create(dir, "file", NewNode::File, 10 * S).at("create")?;
        same!(read(file), Ok((10 * S, 10 * S, 10 * S)), "after create");
        same!(read(dir).map(|times| times.1), Ok(10 * S), "the directory after create");
        write_all(files, file, 0, b"x", 11 * S)?;
        same!(read(file).map(|times| (times.1, times.2)), Ok((11 * S, 11 * S)), "after a write");
        files.set_times(file, Some(5 * S), None, 12 * S).at("set_times")?;
        same!(read(file), Ok((5 * S, 11 * S, 12 * S)), "accessed set");
        files.set_times(file, None, Some(S + 123_456_789), 13 * S).at("set_times")?;
        same!(read(file), Ok((5 * S, S + 123_456_789, 13 * S)), "modified set, to the nanosecond");
        files.set_size(file, 0, 14 * S).at("set_size")?;
        same!(read(file).map(|times| times.1), Ok(14 * S), "after set_size");
        files.unlink(dir, "file", 15 * S).at("unlink")?;
        same!(read(dir).map(|times| (times.1, times.2)), Ok((15 * S, 15 * S)), "the directory after unlink");
        Ok(())
    })
}

fn escapes(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        let sub = files.create(dir, "sub", NewNode::Directory, now).at("create")?;
        files.create(sub, "up", NewNode::Symlink("../.."), now).at("up")?;
        files.create(sub, "abs", NewNode::Symlink("/"), now).at("abs")?;
        for path in
            ["..", "../x", "/", "/etc/passwd", "sub/../..", "sub/up", "sub/up/x", "sub/abs", "sub/abs/x"]
        {
            same!(walk(files, dir, path, true), Err(Errno::Perm), path);
        }
        same!(walk(files, dir, "sub/..", true).map(|place| place.node), Ok(Some(dir)), "inside");
        Ok(())
    })
}

fn nonsense(ctx: &Ctx) -> Outcome {
    in_scratch(ctx, |files, dir, now| {
        for node in [Node(0), Node(u64::MAX), Node(u64::from(u32::MAX)), Node(1 << 63)] {
            same!(files.stat(node).map(|_| ()), Err(Errno::Badf), "stat");
            same!(files.lookup(node, "x"), Err(Errno::Badf), "lookup");
            same!(files.create(node, "x", NewNode::File, now), Err(Errno::Badf), "create");
            same!(files.link(node, dir, "x", now), Err(Errno::Badf), "link");
            same!(files.write_at(node, 0, b"x", now), Err(Errno::Badf), "write_at");
            same!(files.rename(node, "x", dir, "x", now), Err(Errno::Badf), "rename");
            holds!(!files.writable(node), "nothing is writable");
            files.retain(node);
            files.release(node);
        }
        let link = files.create(dir, "link", NewNode::Symlink("x"), now).at("create")?;
        let mut buf = [0; 4];
        holds!(files.read_at(link, 0, &mut buf).is_err(), "read a link as a file");
        holds!(files.write_at(link, 0, b"x", now).is_err(), "wrote to a link");
        holds!(files.write_at(dir, 0, b"x", now).is_err(), "wrote to a directory");
        holds!(files.set_size(dir, 0, now).is_err(), "cut a directory");
        Ok(())
    })
}

// What the checks share.

fn now(ctx: &Ctx) -> Nanos {
    ctx.clock.wall().unwrap_or(0)
}

fn preopen<'c>(ctx: &'c Ctx, name: &str) -> Result<&'c Preopen, String> {
    ctx.preopens.iter().find(|preopen| preopen.name == name).ok_or_else(|| format!("no preopen `{name}`"))
}

/// Runs a check in a new directory below `/tmp`, and removes that afterwards, however it went.
fn in_scratch(ctx: &Ctx, check: impl FnOnce(&dyn Files, Node, Nanos) -> Outcome) -> Outcome {
    const NAME: &str = "lunette-conformance";
    let Preopen { files, root, .. } = preopen(ctx, "/tmp")?;
    let now = now(ctx);
    holds!(files.writable(*root), "`/tmp` says it is not writable");
    let files: Arc<dyn Files> = files.clone();
    let dir = files.create(*root, NAME, NewNode::Directory, now).at("making a scratch directory")?;
    let outcome = check(&*files, dir, now);
    let cleaned = clear(&*files, dir, now)
        .and_then(|()| files.remove_directory(*root, NAME, now).at("removing the scratch directory"));
    outcome.and(cleaned)
}

/// Empties a directory; the checks make no deep ones.
fn clear(files: &dyn Files, dir: Node, now: Nanos) -> Outcome {
    while let Some(entry) = files.entry_after(dir, 0).at("clearing")? {
        if entry.kind == FileKind::Directory {
            clear(files, entry.node, now)?;
            files.remove_directory(dir, &entry.name, now).at("clearing")?;
        } else {
            files.unlink(dir, &entry.name, now).at("clearing")?;
        }
    }
    Ok(())
}

fn list(files: &dyn Files, dir: Node) -> Result<Vec<DirEntry>, String> {
    let mut listing: Vec<DirEntry> = Vec::new();
    let mut cookie = 0;
    while let Some(entry) = files.entry_after(dir, cookie).at("listing")? {
        cookie = entry.cookie;
        listing.push(entry);
        holds!(listing.len() < 1_000_000, "a listing without end");
    }
    Ok(listing)
}

fn write_all(files: &dyn Files, file: Node, mut offset: u64, mut data: &[u8], now: Nanos) -> Outcome {
    while !data.is_empty() {
        let wrote = files.write_at(file, offset, data, now).at("write_at")?;
        holds!(wrote > 0 && wrote <= data.len(), "write_at took {wrote} of {} bytes", data.len());
        data = &data[wrote..];
        offset += wrote as u64;
    }
    Ok(())
}

fn read_all(files: &dyn Files, file: Node) -> Result<Vec<u8>, String> {
    let mut data = Vec::new();
    let mut buf = vec![0; 10_000];
    loop {
        match files.read_at(file, data.len() as u64, &mut buf).at("read_at")? {
            0 => return Ok(data),
            read => data.extend_from_slice(&buf[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::String, vec::Vec};

    use super::{CHECKS, NET_CHECKS, NetWorld, run_all, run_network};
    use crate::{
        Files, MountId,
        fake::{FakeWorld, Weather},
    };

    #[test]
    fn the_fake_network_conforms_in_any_weather() {
        let small = Weather { window: 2000, latency: 1, jitter: 1000, ..Weather::CALM };
        let slow = Weather { latency: 300_000_000, ..Weather::CALM };
        let at_once = Weather { latency: 0, ..Weather::CALM };
        for (sky, weather) in [Weather::CALM, Weather::STORMY, small, slow, at_once].into_iter().enumerate() {
            for seed in 0..2 {
                let world = FakeWorld::new(seed);
                world.net.set_weather(weather.clone());
                let mut failures: Vec<String> = Vec::new();
                let mut ran = 0;
                let net = NetWorld { net: &world.net, wait: &|wait| world.net.wait(wait) };
                run_network(&net, &mut |name, result| {
                    ran += 1;
                    failures.extend(result.err().map(|why| format!("{name}: {why}")));
                });
                assert_eq!((failures, ran), (Vec::new(), NET_CHECKS.len()), "seed {seed}, weather {sky}");
                assert_eq!(world.net.open(), 0, "seed {seed}, weather {sky}: a check left something open");
                assert_eq!(world.net.asked(), [""; 0], "seed {seed}: a check asked for a name");
            }
        }
    }

    #[test]
    fn the_fake_world_conforms() {
        let world = FakeWorld::new(1);
        world.files.insert_file(MountId::ROOT, "file", b"read only", 0).unwrap();
        world.stdio.feed(b"input");
        let mut failures: Vec<String> = Vec::new();
        let mut ran = 0;
        let failed = run_all(&world.ctx(&["test"], &[]), &mut |name, result| {
            ran += 1;
            if let Err(why) = result {
                failures.push(format!("{name}: {why}"));
            }
        });
        assert_eq!((failures, failed), (Vec::new(), 0));
        assert_eq!(ran, CHECKS.len());
        assert_eq!(world.files.usage(world.tmp).0, 0, "a check left something behind");
        let tmp = world.files.lookup(world.files.root(), "tmp").unwrap();
        assert_eq!(world.files.entry_after(tmp, 0), Ok(None));
    }

    #[test]
    fn what_does_not_conform_is_named() {
        let world = FakeWorld::with_tmp(1, Some(1000));
        world.random.set_unseeded(true);
        world.clock.set_wall(Some(0));
        world.stdio.break_pipe();
        let mut failures: Vec<String> = Vec::new();
        let failed = run_all(&world.ctx(&["test"], &[]), &mut |name, result| {
            failures.extend(result.err().map(|_| name.into()));
        });
        assert_eq!(failed, failures.len());
        for name in [
            "random bytes fill the buffer and differ",
            "writing nothing to a stream is fine",
            "the wall clock, if any, shows this century",
            "a file is made, written, read and removed",
        ] {
            assert!(failures.iter().any(|failure| failure == name), "{name} in {failures:?}");
        }
        assert_eq!(world.files.usage(world.tmp).0, 0, "a failed check left something behind");
    }
}
