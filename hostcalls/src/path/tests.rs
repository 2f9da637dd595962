use alloc::{format, string::String};

use super::{MAX_LINKS, MAX_PATH, Place, walk};
use crate::{Errno, FileKind, Files, MountId, NewNode, Node, RamFs};

/// `/work` is the sandbox; next to it lies what must stay out of reach.
///
/// ```text
/// secret           work/file       work/dir/nested/file
/// work/to_dir  -> dir              work/to_nested -> dir/nested/
/// work/to_file -> dir/nested/file  work/dangling  -> dir/none
/// work/abs     -> /secret          work/up        -> ../secret
/// work/dir/back -> ..              work/dir/out   -> ../../secret
/// work/dir/in  -> ../file          work/loop -> loop, work/a <-> work/b
/// ```
fn world() -> (RamFs, Node) {
    let fs = RamFs::new();
    let m = MountId::ROOT;
    fs.insert_file(m, "secret", b"s", 0).unwrap();
    fs.insert_file(m, "work/file", b"f", 0).unwrap();
    fs.insert_file(m, "work/dir/nested/file", b"n", 0).unwrap();
    for (name, target) in [
        ("to_dir", "dir"),
        ("to_nested", "dir/nested/"),
        ("to_file", "dir/nested/file"),
        ("to_file_slash", "dir/nested/file/"),
        ("dangling", "dir/none"),
        ("abs", "/secret"),
        ("abs_in", "/work/file"),
        ("up", "../secret"),
        ("dir/back", ".."),
        ("dir/out", "../../secret"),
        ("dir/in", "../file"),
        ("dot", "."),
        ("loop", "loop"),
        ("a", "b"),
        ("b", "a"),
        ("nul", "fi\0le"),
    ] {
        fs.insert_symlink(m, &format!("work/{name}"), target, 0).unwrap();
    }
    let work = fs.lookup(fs.root(), "work").unwrap();
    (fs, work)
}

fn at(fs: &RamFs, root: Node, names: &[&str]) -> Node {
    names.iter().fold(root, |dir, name| fs.lookup(dir, name).unwrap())
}

#[test]
fn many_spellings_of_one_file() {
    let (fs, work) = world();
    let dir = at(&fs, work, &["dir", "nested"]);
    let node = at(&fs, dir, &["file"]);
    let expected = Place { dir, name: Some("file".into()), node: Some(node), trailing_slash: false };
    for path in [
        "dir/nested/file",
        "./dir/./nested/././file",
        "dir//nested///file",
        "dir/.//nested/../../dir/nested/../nested///./file",
        "to_dir/nested/file",
        "to_nested/file",
        "to_nested//file",
        "to_nested/../nested/file",
        "dir/back/dir/nested/file",
        "dir/back/to_dir/back/to_nested/file",
        "dot/dot/dot/dir/nested/file",
    ] {
        for follow in [false, true] {
            assert_eq!(walk(&fs, work, path, follow), Ok(expected.clone()), "{path}");
        }
    }
    assert_eq!(walk(&fs, work, "to_file", true), Ok(expected));
}

#[test]
fn nothing_leads_out() {
    let (fs, work) = world();
    for path in [
        "..",
        "../",
        "../secret",
        "../work/file",
        "./../secret",
        "dir/../../secret",
        "dir/../..",
        "dir/nested/../../../secret",
        "to_dir/../../secret",
        "dir/back/..",
        "dir/back/../secret",
        "up/",
        "up/x",
        "abs/",
        "abs/x",
        "dir/out/x",
        "/",
        "//",
        "/secret",
        "/work/file",
        "//work/file",
        "dot/../secret",
    ] {
        for follow in [false, true] {
            assert_eq!(walk(&fs, work, path, follow), Err(Errno::Perm), "{path}");
        }
    }
    for path in ["up", "abs", "abs_in", "dir/out", "to_dir/out"] {
        assert_eq!(walk(&fs, work, path, true), Err(Errno::Perm), "{path}");
        let place = walk(&fs, work, path, false).unwrap();
        assert_eq!(fs.stat(place.node.unwrap()).unwrap().kind, FileKind::Symlink, "{path}");
    }
    // The same link is fine where its target lies inside.
    assert!(walk(&fs, work, "dir/in", true).is_ok());
    assert_eq!(walk(&fs, at(&fs, work, &["dir"]), "in", true), Err(Errno::Perm));
    // `..` within is counted by the way taken, not by where the link lies.
    let file = at(&fs, work, &["file"]);
    assert_eq!(walk(&fs, work, "to_nested/../../file", true).unwrap().node, Some(file));
}

#[test]
fn paths_that_name_a_directory_by_itself() {
    let (fs, work) = world();
    let dir = at(&fs, work, &["dir"]);
    for (path, node, slash) in [
        (".", work, false),
        ("./", work, true),
        ("././.", work, false),
        ("dir/..", work, false),
        ("dir/.", dir, false),
        ("dir/nested/..", dir, false),
        ("dir/back/dir/.", dir, false),
        ("dir/back/", work, true),
        ("to_dir/.", dir, false),
    ] {
        let expected = Place { dir: node, name: None, node: Some(node), trailing_slash: slash };
        assert_eq!(walk(&fs, work, path, false), Ok(expected), "{path}");
    }
    // A last link that ends so.
    let followed = walk(&fs, work, "dir/back", true).unwrap();
    assert_eq!((followed.dir, followed.name, followed.node), (work, None, Some(work)));
    let kept = walk(&fs, work, "dir/back", false).unwrap();
    assert_eq!((kept.dir, kept.name.as_deref()), (dir, Some("back")));
}

#[test]
fn a_slash_at_the_end_follows_and_wants_a_directory() {
    let (fs, work) = world();
    let dir = at(&fs, work, &["dir"]);
    let place = walk(&fs, work, "to_dir/", false).unwrap();
    assert_eq!((place.dir, place.name.as_deref(), place.node), (work, Some("dir"), Some(dir)));
    assert!(place.trailing_slash);
    for path in ["file/", "file///", "to_file/", "file/.", "file/..", "file/x", "to_file/..", "dir/in/"] {
        assert_eq!(walk(&fs, work, path, false), Err(Errno::Notdir), "{path}");
    }
    assert_eq!(walk(&fs, work, "to_file_slash", true), Err(Errno::Notdir));
    assert!(walk(&fs, work, "to_file_slash", false).is_ok());
    let missing = walk(&fs, work, "none/", true).unwrap();
    assert_eq!((missing.name.as_deref(), missing.node), (Some("none"), None));
    assert!(missing.trailing_slash);
    assert!(walk(&fs, work, "to_nested", true).unwrap().trailing_slash);
}

#[test]
fn what_is_missing() {
    let (fs, work) = world();
    let dir = at(&fs, work, &["dir"]);
    let place = walk(&fs, work, "dangling", true).unwrap();
    assert_eq!((place.dir, place.name.as_deref(), place.node), (dir, Some("none"), None));
    assert_eq!(place.existing(), Err(Errno::Noent));
    for path in ["none/x", "none/..", "none/.", "dangling/x", "dangling/.", "dir/none/../file", ""] {
        assert_eq!(walk(&fs, work, path, true), Err(Errno::Noent), "{path:?}");
    }
    // From a file, nothing can be walked.
    let file = at(&fs, work, &["file"]);
    for path in [".", "./", "x", "./x"] {
        assert_eq!(walk(&fs, file, path, true), Err(Errno::Notdir), "{path}");
    }
    assert_eq!(walk(&fs, Node(u64::MAX), ".", true), Err(Errno::Badf));
    assert_eq!(walk(&fs, Node(0), "x", true), Err(Errno::Badf));
}

#[test]
fn links_are_counted() {
    let (fs, work) = world();
    for path in ["loop", "a", "b", "loop/x", "a/x/y", "loop/", "loop/."] {
        assert_eq!(walk(&fs, work, path, true), Err(Errno::Loop), "{path}");
    }
    assert!(walk(&fs, work, "loop", false).is_ok());
    let (_, tmp) = fs.add_mount(None, true, None).unwrap();
    fs.create(tmp, "0", NewNode::File, 0).unwrap();
    for n in 1..=MAX_LINKS + 1 {
        fs.create(tmp, &format!("{n}"), NewNode::Symlink(&format!("{}", n - 1)), 0).unwrap();
    }
    assert!(walk(&fs, tmp, &format!("{MAX_LINKS}"), true).unwrap().node.is_some());
    assert_eq!(walk(&fs, tmp, &format!("{}", MAX_LINKS + 1), true), Err(Errno::Loop));
}

#[test]
fn hostile_links_take_bounded_work() {
    let (fs, work) = world();
    let (_, tmp) = fs.add_mount(None, true, None).unwrap();
    // Each link's text goes through itself and the next ones again and again: 2^n without a bound.
    let wide = |name: &str| {
        let mut text = String::new();
        while text.len() + name.len() < MAX_PATH {
            text.push_str(name);
            text.push('/');
        }
        text
    };
    for n in 0..64 {
        fs.create(tmp, &format!("{n}"), NewNode::Symlink(&wide(&format!("{}", n + 1))), 0).unwrap();
    }
    assert_eq!(walk(&fs, tmp, "0", true), Err(Errno::Loop));
    fs.create(tmp, "self", NewNode::Symlink(&wide("self")), 0).unwrap();
    assert_eq!(walk(&fs, tmp, "self/self/self", true), Err(Errno::Loop));
    fs.create(tmp, "dots", NewNode::Symlink(&wide(".")), 0).unwrap();
    assert_eq!(walk(&fs, tmp, &wide("dots"), true), Err(Errno::Loop));
    let slashes = format!("dir{}nested", "/".repeat(MAX_PATH - 9));
    assert!(walk(&fs, work, &slashes, true).unwrap().node.is_some());
}

#[test]
fn lengths_and_nul() {
    let (fs, work) = world();
    let long = "x".repeat(255);
    assert_eq!(walk(&fs, work, &long, true).unwrap().name, Some(long.clone()));
    assert_eq!(walk(&fs, work, &format!("{long}x"), true), Err(Errno::Nametoolong));
    assert_eq!(walk(&fs, work, &format!("{long}x/y"), true), Err(Errno::Nametoolong));
    assert!(walk(&fs, work, &"./".repeat(MAX_PATH / 2), true).is_ok());
    assert_eq!(walk(&fs, work, &"./".repeat(MAX_PATH / 2 + 1), true), Err(Errno::Nametoolong));
    for path in ["file\0", "\0", "dir/\0/file", "nul"] {
        assert_eq!(walk(&fs, work, path, true), Err(Errno::Inval), "{path:?}");
    }
    // Not ASCII, not special.
    for name in ["…", "..…", "...", "\u{2024}\u{2024}", "a\\..\\b", "C:", "%2e%2e", " ", "-"] {
        let place = walk(&fs, work, name, true).unwrap();
        assert_eq!((place.dir, place.name.as_deref(), place.node), (work, Some(name), None));
    }
}

#[test]
fn a_tree_moved_away_does_not_move_the_sandbox() {
    let fs = RamFs::new();
    let (_, top) = fs.add_mount(None, true, None).unwrap();
    let mkdir = |dir, name: &str| fs.create(dir, name, NewNode::Directory, 0).unwrap();
    let cage = mkdir(top, "cage");
    let a = mkdir(cage, "a");
    let b = mkdir(a, "b");
    fs.create(top, "secret", NewNode::File, 0).unwrap();
    // `b` now lies outside of `a`; a guest that was given `b` or `a` finds nothing new above.
    fs.rename(a, "b", top, "b", 0).unwrap();
    assert_eq!(walk(&fs, b, "../secret", true), Err(Errno::Perm));
    assert_eq!(walk(&fs, a, "b/../secret", true), Err(Errno::Noent));
    fs.rename(top, "cage", b, "cage", 0).unwrap();
    assert_eq!(walk(&fs, cage, "a/../../secret", true), Err(Errno::Perm));
    assert_eq!(walk(&fs, top, "b/cage/a/../../../secret", true).unwrap().name.as_deref(), Some("secret"));
}
