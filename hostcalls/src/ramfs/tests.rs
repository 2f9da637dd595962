use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::*;
use crate::fake::FakeRandom;

/// One writable mount of its own.
fn writable(limit: Option<u64>) -> (RamFs, MountId, Node) {
    let fs = RamFs::new();
    let (mount, root) = fs.add_mount(None, true, limit).unwrap();
    (fs, mount, root)
}

fn file(fs: &RamFs, dir: Node, name: &str) -> Node {
    fs.create(dir, name, NewNode::File, 0).unwrap()
}

fn mkdir(fs: &RamFs, dir: Node, name: &str) -> Node {
    fs.create(dir, name, NewNode::Directory, 0).unwrap()
}

fn contents(fs: &RamFs, node: Node) -> Vec<u8> {
    let mut data = vec![0xaa; usize::try_from(fs.stat(node).unwrap().size).unwrap() + 1];
    let read = fs.read_at(node, 0, &mut data).unwrap();
    data.truncate(read);
    data
}

#[test]
fn built_once_read_in_place() {
    let fs = RamFs::new();
    fs.insert_file(MountId::ROOT, "a/b/c.txt", b"hello", 7).unwrap();
    fs.insert_symlink(MountId::ROOT, "a/link", "b/c.txt", 8).unwrap();
    fs.insert_dir(MountId::ROOT, "a/b", 9).unwrap();
    let a = fs.lookup(fs.root(), "a").unwrap();
    let b = fs.lookup(a, "b").unwrap();
    let c = fs.lookup(b, "c.txt").unwrap();
    assert_eq!(contents(&fs, c), b"hello");
    assert_eq!(fs.stat(c).unwrap().modified, 7);
    assert_eq!((fs.stat(b).unwrap().modified, fs.stat(b).unwrap().links), (9, 2));
    assert_eq!((fs.stat(a).unwrap().links, fs.stat(fs.root()).unwrap().links), (3, 3));
    assert_eq!(fs.write_at(c, 0, b"x", 0), Err(Errno::Rofs));
    assert_eq!(fs.create(b, "c.txt", NewNode::File, 0), Err(Errno::Exist));
    assert_eq!(fs.create(b, "d", NewNode::File, 0), Err(Errno::Rofs));
    assert_eq!(fs.remove_directory(a, "b", 0), Err(Errno::Rofs));
}

#[test]
fn what_the_builder_refuses() {
    let fs = RamFs::new();
    fs.insert_file(MountId::ROOT, "file", b"", 0).unwrap();
    fs.insert_dir(MountId::ROOT, "dir", 0).unwrap();
    fs.add_mount(Some("/mnt"), true, None).unwrap();
    let long = "x".repeat(256);
    for (path, why) in [
        ("", BuildProblem::Empty),
        ("/x", BuildProblem::Absolute),
        ("..", BuildProblem::Component),
        ("a/../b", BuildProblem::Component),
        ("./a", BuildProblem::Component),
        ("a//b", BuildProblem::Component),
        ("a/", BuildProblem::Component),
        ("a\0b", BuildProblem::Nul),
        (&long, BuildProblem::TooLong),
        ("file", BuildProblem::Duplicate),
        ("dir", BuildProblem::Duplicate),
        ("file/x", BuildProblem::NotADirectory),
        ("mnt/x", BuildProblem::Mounted),
        ("mnt", BuildProblem::Mounted),
    ] {
        let error = fs.insert_file(MountId::ROOT, path, b"", 0).unwrap_err();
        assert_eq!((error.path.as_str(), error.why), (path, why));
        assert!(error.to_string().starts_with(&format!("`{}`: ", path.escape_debug())));
    }
    assert_eq!(fs.insert_dir(MountId::ROOT, "file", 0).unwrap_err().why, BuildProblem::NotADirectory);
    assert_eq!(fs.insert_symlink(MountId::ROOT, "l", "", 0).unwrap_err().why, BuildProblem::Target);
    assert_eq!(fs.insert_file(MountId(99), "x", b"", 0).unwrap_err().why, BuildProblem::NoSuchMount);
    for (path, errno) in [
        ("tmp", Errno::Inval),
        ("/a/../b", Errno::Inval),
        ("//", Errno::Inval),
        ("/tmp/", Errno::Inval),
        ("", Errno::Inval),
        ("/file", Errno::Notdir),
        ("/file/x", Errno::Notdir),
        ("/mnt", Errno::Busy),
    ] {
        assert_eq!(fs.add_mount(Some(path), true, None), Err(errno), "{path}");
    }
}

#[test]
fn mounts_are_apart() {
    let fs = RamFs::new();
    fs.insert_file(MountId::ROOT, "tmp/covered", b"", 0).unwrap();
    let (_, tmp) = fs.add_mount(Some("/tmp"), true, None).unwrap();
    let (_, deep) = fs.add_mount(Some("/var/data/x"), true, None).unwrap();
    let (_, inner) = fs.add_mount(Some("/tmp/inner"), true, None).unwrap();
    assert_eq!(fs.lookup(fs.root(), "tmp"), Ok(tmp));
    assert_eq!(fs.lookup(tmp, "covered"), Err(Errno::Noent));
    assert_eq!(fs.stat(fs.root()).unwrap().links, 4);
    let devices = [fs.root(), tmp, deep, inner].map(|node| fs.stat(node).unwrap().device);
    assert_eq!(devices, [1, 2, 3, 4]);
    let one = file(&fs, tmp, "one");
    assert_eq!(fs.link(one, deep, "one", 0), Err(Errno::Xdev));
    assert_eq!(fs.rename(tmp, "one", deep, "one", 0), Err(Errno::Xdev));
    assert_eq!(fs.rename(tmp, "one", inner, "one", 0), Err(Errno::Xdev));
    assert_eq!(fs.rename(tmp, "one", fs.root(), "one", 0), Err(Errno::Xdev));
    assert_eq!(fs.remove_directory(tmp, "inner", 0), Err(Errno::Busy));
    assert_eq!(fs.rename(tmp, "inner", tmp, "outer", 0), Err(Errno::Busy));
    mkdir(&fs, tmp, "dir");
    assert_eq!(fs.rename(tmp, "dir", tmp, "inner", 0), Err(Errno::Busy));
    assert_eq!(fs.remove_directory(fs.root(), "tmp", 0), Err(Errno::Rofs));
    assert!(fs.writable(one) && !fs.writable(fs.root()));
    // `/` itself can be made writable, and keeps what is in it.
    assert_eq!(fs.add_mount(Some("/"), true, Some(1000)), Ok((MountId::ROOT, fs.root())));
    file(&fs, fs.root(), "new");
    assert_eq!(fs.lookup(fs.root(), "tmp"), Ok(tmp));
}

#[test]
fn nothing_was_granted_below_an_empty_handed_root() {
    let fs = RamFs::new();
    let (tmp, root) = fs.add_mount(Some("/tmp"), true, None).unwrap();
    fs.insert_dir(MountId::ROOT, "dir", 0).unwrap();
    fs.set_empty_handed(MountId::ROOT);
    fs.set_empty_handed(MountId(99));
    assert_eq!(fs.lookup(fs.root(), "etc"), Err(Errno::Notcapable));
    assert_eq!(fs.lookup(fs.root(), "tmp"), Ok(root));
    let dir = fs.lookup(fs.root(), "dir").unwrap();
    assert_eq!(fs.lookup(dir, "etc"), Err(Errno::Noent), "only its root");
    assert_eq!(fs.lookup(root, "etc"), Err(Errno::Noent), "only that mount");
    fs.set_empty_handed(tmp);
    assert_eq!(fs.lookup(root, "etc"), Err(Errno::Notcapable));
    // It can still be written to.
    let made = file(&fs, root, "etc");
    assert_eq!(fs.lookup(root, "etc"), Ok(made));
}

#[test]
fn ten_thousand_files_are_built_and_a_node_number_is_never_0() {
    let fs = RamFs::new();
    for n in 0..10_000 {
        let node = fs.insert_file(MountId::ROOT, &format!("d{}/e{}/f{n}", n % 100, n % 7), b"x", 0).unwrap();
        assert_ne!(node.0, 0);
    }
    assert_eq!(fs.insert_file(MountId::ROOT, "d0/e0/f0", b"x", 0).unwrap_err().why, BuildProblem::Duplicate);
}

#[test]
fn writing_over_a_bundle_file_leaves_the_bundle_alone() {
    static BASE: [u8; 40_000] = [7; 40_000];
    let fs = RamFs::new();
    let (mount, _) = fs.add_mount(Some("/data"), true, None).unwrap();
    let node = fs.insert_file(mount, "file", &BASE, 0).unwrap();
    let mut model = BASE.to_vec();
    let mut write = |offset: usize, data: &[u8]| {
        assert_eq!(fs.write_at(node, offset as u64, data, 1), Ok(data.len()));
        model.resize(model.len().max(offset + data.len()), 0);
        model[offset..offset + data.len()].copy_from_slice(data);
        assert_eq!(contents(&fs, node), model);
    };
    write(20_000, b"middle");
    write(16_384, &[1; 16_384]);
    write(39_999, b"across the end");
    write(100_000, b"far");
    fs.set_size(node, 10, 2).unwrap();
    fs.set_size(node, 50_000, 3).unwrap();
    let data = contents(&fs, node);
    assert!(data[..10].iter().all(|&byte| byte == 7) && data[10..].iter().all(|&byte| byte == 0));
    assert!(BASE.iter().all(|&byte| byte == 7));
}

#[test]
fn a_tebibyte_of_nothing_costs_nothing() {
    const TIB: u64 = 1 << 40;
    let (fs, mount, root) = writable(Some(100_000));
    let node = file(&fs, root, "sparse");
    fs.set_size(node, TIB, 0).unwrap();
    assert_eq!(fs.write_at(node, TIB, b"end", 0), Ok(3));
    assert_eq!(fs.write_at(node, TIB / 2 + 5, b"mid", 0), Ok(3));
    assert!(fs.usage(mount).0 < 40_000);
    let mut buf = vec![1; 1 << 20];
    assert_eq!(fs.read_at(node, TIB / 2 - 100, &mut buf), Ok(1 << 20));
    assert_eq!((&buf[105..108], buf.iter().filter(|&&byte| byte != 0).count()), (&b"mid"[..], 3));
    assert_eq!(fs.stat(node).unwrap().size, TIB + 3);
    fs.set_size(node, MAX_FILE, 0).unwrap();
    assert_eq!(fs.set_size(node, MAX_FILE + 1, 0), Err(Errno::Fbig));
    assert_eq!(fs.write_at(node, MAX_FILE - 2, b"four", 0), Ok(2));
    assert_eq!(fs.write_at(node, MAX_FILE, b"x", 0), Err(Errno::Fbig));
    assert_eq!(fs.write_at(node, u64::MAX, b"x", 0), Err(Errno::Fbig));
    assert_eq!(fs.read_at(node, u64::MAX, &mut buf), Ok(0));
}

#[test]
fn a_full_disk_says_so_midway_and_gives_everything_back() {
    for limit in [1000, 5000, 16_900, 17_000, 33_000, 100_001] {
        let (fs, mount, root) = writable(Some(limit));
        let node = file(&fs, root, "file");
        let wrote = fs.write_at(node, 0, &[9; 200_000], 0).unwrap();
        assert!(wrote > 0 && (wrote as u64) < limit, "{limit}: {wrote}");
        assert!(limit - fs.usage(mount).0 < PAGE_COST + 1, "{limit}: {:?} left over", fs.usage(mount));
        assert_eq!(fs.stat(node).unwrap().size, wrote as u64);
        assert_eq!(contents(&fs, node), vec![9; wrote]);
        assert_eq!(fs.write_at(node, wrote as u64, b"x", 0), Err(Errno::Nospc));
        assert_eq!(fs.create(root, "more", NewNode::File, 0), Err(Errno::Nospc));
        assert_eq!(fs.create(root, "more", NewNode::Directory, 0), Err(Errno::Nospc));
        assert_eq!(fs.link(node, root, "more", 0), Err(Errno::Nospc));
        // What is there can be written over, renamed, and removed.
        assert_eq!(fs.write_at(node, 0, b"over", 0), Ok(4));
        fs.rename(root, "file", root, "fil2", 0).unwrap();
        assert_eq!(fs.rename(root, "fil2", root, &"x".repeat(200), 0), Err(Errno::Nospc));
        fs.retain(node);
        fs.unlink(root, "fil2", 0).unwrap();
        assert!(fs.usage(mount).0 > 0);
        fs.release(node);
        assert_eq!(fs.usage(mount).0, 0);
    }
}

#[test]
fn a_full_disk_keeps_what_lay_beneath_a_page() {
    static BASE: [u8; 20_000] = [5; 20_000];
    let fs = RamFs::new();
    let (mount, _) = fs.add_mount(Some("/data"), true, Some(1000)).unwrap();
    let node = fs.insert_file(mount, "file", &BASE, 0).unwrap();
    let before = fs.usage(mount);
    assert_eq!(fs.write_at(node, 10, b"x", 0), Err(Errno::Nospc));
    assert_eq!(fs.write_at(node, 0, &[1; 18_000], 0), Err(Errno::Nospc));
    assert_eq!(fs.usage(mount), before);
    assert_eq!(contents(&fs, node), BASE);
    // What was built in does not count, and frees its share.
    assert_eq!(before.1.unwrap() - before.0, 1000);
}

#[test]
fn small_writes_in_a_row_are_not_quadratic() {
    let (fs, mount, root) = writable(None);
    let node = file(&fs, root, "log");
    for n in 0..400_000u64 {
        assert_eq!(fs.write_at(node, n * 10, b"0123456789", 0), Ok(10));
    }
    assert_eq!(fs.stat(node).unwrap().size, 4_000_000);
    // Kept in whole pages, not twice.
    assert!(fs.usage(mount).0 < 4_100_000);
}

#[test]
fn five_thousand_levels() {
    let (fs, mount, root) = writable(None);
    let mut dirs = vec![root];
    for _ in 0..5000 {
        dirs.push(mkdir(&fs, dirs[dirs.len() - 1], "d"));
    }
    let deepest = dirs[5000];
    assert_eq!(fs.rename(root, "d", deepest, "d", 0), Err(Errno::Inval));
    let half = "d/".repeat(2000);
    let place = crate::path::walk(&fs, dirs[1000], &half, true).unwrap();
    assert_eq!(place.node, Some(dirs[3000]));
    // Down by links that go down by links.
    fs.create(root, "l0", NewNode::Symlink(&"d/".repeat(500)), 0).unwrap();
    let back = String::from("l0/") + &"d/".repeat(500) + &"../".repeat(700);
    assert_eq!(crate::path::walk(&fs, root, &back, true).unwrap().node, Some(dirs[300]));
    for depth in (1..=5000).rev() {
        fs.remove_directory(dirs[depth - 1], "d", 0).unwrap();
    }
    fs.unlink(root, "l0", 0).unwrap();
    assert_eq!(fs.usage(mount).0, 0);
    // A deep tree that is dropped as it stands.
    let mut dir = root;
    for _ in 0..5000 {
        dir = mkdir(&fs, dir, "d");
    }
}

#[test]
fn a_hundred_thousand_entries() {
    let (fs, mount, root) = writable(None);
    for n in 0..100_000 {
        file(&fs, root, &format!("{n}"));
    }
    let (mut cookie, mut count) = (0, 0);
    while let Some(entry) = fs.entry_after(root, cookie).unwrap() {
        assert!(entry.cookie > cookie);
        cookie = entry.cookie;
        count += 1;
        // Removing what was just listed does not disturb the listing.
        fs.unlink(root, &entry.name, 0).unwrap();
    }
    assert_eq!((count, fs.usage(mount).0), (100_000, 0));
    let inode = file(&fs, root, "after");
    assert!(inode.0 >> 32 > 0, "a number was given twice");
}

#[test]
fn cookies_under_change() {
    let (fs, _, root) = writable(None);
    for name in ["a", "b", "c", "d"] {
        file(&fs, root, name);
    }
    let first = fs.entry_after(root, 0).unwrap().unwrap();
    let second = fs.entry_after(root, first.cookie).unwrap().unwrap();
    assert_eq!((first.name.as_str(), second.name.as_str()), ("a", "b"));
    // `rename` over a name that was shown keeps its place; a name made again comes again, at the end.
    fs.rename(root, "c", root, "a", 0).unwrap();
    fs.unlink(root, "b", 0).unwrap();
    file(&fs, root, "e");
    let names: Vec<String> = core::iter::successors(Some(second.cookie), |&cookie| {
        fs.entry_after(root, cookie).unwrap().map(|entry| entry.cookie)
    })
    .filter_map(|cookie| fs.entry_after(root, cookie).unwrap())
    .map(|entry| entry.name)
    .collect();
    assert_eq!(names, ["d", "e"]);
    assert_eq!(fs.entry_after(root, u64::MAX), Ok(None));
}

#[test]
fn numbers_of_freed_nodes_mean_nothing_any_more() {
    let (fs, _, root) = writable(None);
    let old = file(&fs, root, "x");
    fs.unlink(root, "x", 0).unwrap();
    let new = file(&fs, root, "x");
    assert_ne!(old, new);
    assert_eq!(fs.stat(old), Err(Errno::Badf));
    assert_eq!(fs.write_at(old, 0, b"x", 0), Err(Errno::Badf));
    fs.release(old);
    assert_eq!(fs.stat(new).unwrap().inode, new.0);
}

/// The naive model: one map from path to what is there.
#[derive(Clone, Debug, PartialEq)]
enum Model {
    Dir,
    File(usize),
    Link(String),
}

#[derive(Default)]
struct World {
    paths: BTreeMap<String, Model>,
    files: Vec<Vec<u8>>,
}

impl World {
    fn parent(path: &str) -> &str {
        path.rsplit_once('/').map_or("", |(above, _)| above)
    }
    fn is_dir(&self, path: &str) -> bool {
        path.is_empty() || self.paths.get(path) == Some(&Model::Dir)
    }
    fn parent_ok(&self, path: &str) -> Result<(), Errno> {
        match self.paths.get(Self::parent(path)) {
            _ if self.is_dir(Self::parent(path)) => Ok(()),
            Some(_) => Err(Errno::Notdir),
            None => Err(Errno::Noent),
        }
    }
    fn has_children(&self, path: &str) -> bool {
        self.paths.keys().any(|other| other.starts_with(&format!("{path}/")))
    }
    fn make(&mut self, path: &str, what: Model) -> Result<(), Errno> {
        self.parent_ok(path)?;
        if self.paths.contains_key(path) {
            return Err(Errno::Exist);
        }
        self.paths.insert(path.into(), what);
        Ok(())
    }
    fn remove(&mut self, path: &str, directory: bool) -> Result<(), Errno> {
        self.parent_ok(path)?;
        match self.paths.get(path) {
            None => return Err(Errno::Noent),
            Some(Model::Dir) if !directory => return Err(Errno::Isdir),
            Some(Model::Dir) if self.has_children(path) => return Err(Errno::Notempty),
            Some(Model::File(_) | Model::Link(_)) if directory => return Err(Errno::Notdir),
            Some(_) => {}
        }
        self.paths.remove(path);
        Ok(())
    }
    fn rename(&mut self, old: &str, new: &str) -> Result<(), Errno> {
        self.parent_ok(old)?;
        self.parent_ok(new)?;
        let moved = self.paths.get(old).ok_or(Errno::Noent)?.clone();
        let replaced = self.paths.get(new).cloned();
        if old == new || matches!((&moved, &replaced), (Model::File(a), Some(Model::File(b))) if a == b) {
            return Ok(());
        }
        let directory = moved == Model::Dir;
        if directory && new.starts_with(&format!("{old}/")) {
            return Err(Errno::Inval);
        }
        match replaced {
            Some(Model::Dir) if !directory => return Err(Errno::Isdir),
            Some(Model::Dir) if self.has_children(new) => return Err(Errno::Notempty),
            Some(Model::File(_) | Model::Link(_)) if directory => return Err(Errno::Notdir),
            _ => {}
        }
        let below: Vec<String> =
            self.paths.keys().filter(|path| path.starts_with(&format!("{old}/"))).cloned().collect();
        for path in below {
            let what = self.paths.remove(&path).unwrap();
            self.paths.insert(format!("{new}{}", &path[old.len()..]), what);
        }
        self.paths.remove(old);
        self.paths.insert(new.into(), moved);
        Ok(())
    }

    /// Everything that can be seen must be the same.
    fn compare(&self, fs: &RamFs, root: Node) {
        let mut found = 0;
        let mut todo = vec![(String::new(), root)];
        while let Some((path, dir)) = todo.pop() {
            let (mut cookie, mut subdirectories) = (0, 0);
            while let Some(entry) = fs.entry_after(dir, cookie).unwrap() {
                cookie = entry.cookie;
                found += 1;
                let below = if path.is_empty() { entry.name } else { format!("{path}/{}", entry.name) };
                let stat = fs.stat(entry.node).unwrap();
                match self.paths.get(&below).unwrap_or_else(|| panic!("{below} should not be there")) {
                    Model::Dir => {
                        subdirectories += 1;
                        todo.push((below, entry.node));
                    }
                    Model::File(index) => {
                        assert_eq!(contents(fs, entry.node), self.files[*index], "{below}");
                        let names = self.paths.values().filter(|&what| *what == Model::File(*index)).count();
                        assert_eq!(stat.links, names as u64, "{below}");
                    }
                    Model::Link(target) => assert_eq!(fs.read_link(entry.node).as_ref(), Ok(target)),
                }
            }
            assert_eq!(fs.stat(dir).unwrap().links, 2 + subdirectories, "{path}");
        }
        assert_eq!(found, self.paths.len());
    }
}

/// The parent's node and the last name, as `walk` would find them, without following links.
fn resolve<'p>(fs: &RamFs, root: Node, path: &'p str) -> Result<(Node, &'p str), Errno> {
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let dir =
        above.split('/').filter(|step| !step.is_empty()).try_fold(root, |dir, step| fs.lookup(dir, step))?;
    Ok((dir, name))
}

#[test]
fn does_what_a_naive_model_does() {
    for seed in 0..30 {
        let random = FakeRandom::new(seed);
        let (fs, mount, root) = writable(None);
        let mut world = World::default();
        let path = || {
            let depth = 1 + random.below(4);
            let steps: Vec<_> = (0..depth).map(|_| ["a", "b", "c"][random.below(3) as usize]).collect();
            steps.join("/")
        };
        for step in 0..600 {
            let (one, two) = (path(), path());
            let place = resolve(&fs, root, &one);
            let (expected, answer) = match random.below(9) {
                0 => {
                    let expected = world.make(&one, Model::Dir);
                    (
                        expected,
                        place
                            .and_then(|(dir, name)| fs.create(dir, name, NewNode::Directory, step))
                            .map(drop),
                    )
                }
                1 => {
                    let expected = world.make(&one, Model::File(world.files.len()));
                    world.files.push(Vec::new());
                    (
                        expected,
                        place.and_then(|(dir, name)| fs.create(dir, name, NewNode::File, step)).map(drop),
                    )
                }
                2 => {
                    let expected = world.make(&one, Model::Link(two.clone()));
                    let new = NewNode::Symlink(&two);
                    (expected, place.and_then(|(dir, name)| fs.create(dir, name, new, step)).map(drop))
                }
                3 => (world.remove(&one, false), place.and_then(|(dir, name)| fs.unlink(dir, name, step))),
                4 => (
                    world.remove(&one, true),
                    place.and_then(|(dir, name)| fs.remove_directory(dir, name, step)),
                ),
                5 => {
                    let target = resolve(&fs, root, &two);
                    let answer = place.and_then(|(from, old)| {
                        let (to, new) = target?;
                        fs.rename(from, old, to, new, step)
                    });
                    // With two things wrong, which is told first is nobody's contract.
                    let expected = world.rename(&one, &two);
                    assert_eq!(
                        expected.is_ok(),
                        answer.is_ok(),
                        "{seed}/{step}: rename {one} {two}: {answer:?}"
                    );
                    (answer, answer)
                }
                6 => {
                    let Some(&Model::File(index)) = world.paths.get(&one) else { continue };
                    let expected = world.make(&two, Model::File(index));
                    let node = place.and_then(|(dir, name)| fs.lookup(dir, name)).unwrap();
                    (
                        expected,
                        resolve(&fs, root, &two).and_then(|(dir, name)| fs.link(node, dir, name, step)),
                    )
                }
                what => {
                    let Some(&Model::File(index)) = world.paths.get(&one) else { continue };
                    let node = place.and_then(|(dir, name)| fs.lookup(dir, name)).unwrap();
                    let (at, len) = (random.below(40_000) as usize, random.below(40_000) as usize);
                    let model = &mut world.files[index];
                    if what == 7 {
                        let data = vec![random.next() as u8; len];
                        if len > 0 {
                            model.resize(model.len().max(at + len), 0);
                            model[at..at + len].copy_from_slice(&data);
                        }
                        assert_eq!(fs.write_at(node, at as u64, &data, step), Ok(len));
                    } else {
                        model.resize(at, 0);
                        fs.set_size(node, at as u64, step).unwrap();
                    }
                    let mut part = vec![1; len];
                    let read = fs.read_at(node, at as u64 / 2, &mut part).unwrap();
                    let model = model.get(at / 2..).unwrap_or(&[]);
                    assert_eq!(&part[..read], &model[..model.len().min(len)]);
                    (Ok(()), Ok(()))
                }
            };
            // A parent that is a link or a file: the walk by hand says Notdir or Noent for deeper ones.
            match (expected, answer) {
                (Err(Errno::Noent | Errno::Notdir), Err(Errno::Noent | Errno::Notdir)) => {}
                _ => assert_eq!(answer, expected, "seed {seed}, step {step}: {one}, {two}"),
            }
            if step % 20 == 0 {
                world.compare(&fs, root);
            }
        }
        world.compare(&fs, root);
        // Taken apart, it has cost nothing.
        while let Some(path) = world.paths.keys().next_back().cloned() {
            let (dir, name) = resolve(&fs, root, &path).unwrap();
            match world.paths.remove(&path) {
                Some(Model::Dir) => fs.remove_directory(dir, name, 0).unwrap(),
                _ => fs.unlink(dir, name, 0).unwrap(),
            }
        }
        assert_eq!(fs.usage(mount).0, 0, "seed {seed}");
    }
}
