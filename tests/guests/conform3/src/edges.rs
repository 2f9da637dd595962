//! wasi:filesystem once more: what is implied, what is on the edge of being allowed, and what is seen at once.

use wasip3::{
    clocks::system_clock::Instant,
    filesystem::types::{
        Advice, Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
    },
    wit_stream,
};

use crate::{
    files::{create, done, folder, read},
    refused,
};

const NO: PathFlags = PathFlags::empty();

async fn open(
    dir: &Descriptor,
    name: &str,
    open: OpenFlags,
    flags: DescriptorFlags,
) -> Result<Descriptor, ErrorCode> {
    dir.open_at(NO, name.into(), open, flags).await
}

/// Which flags a descriptor has in the end: reading if nothing is said, writing where something is made.
pub(crate) async fn flags() {
    const NEW: OpenFlags = OpenFlags::CREATE.union(OpenFlags::EXCLUSIVE);
    const READ: DescriptorFlags = DescriptorFlags::READ;
    const WRITE: DescriptorFlags = DescriptorFlags::WRITE;
    let dir = folder("flags").await;
    let itself = open(&dir, ".", OpenFlags::empty(), DescriptorFlags::empty()).await.expect("itself");
    assert!(itself.get_flags().await.expect("flags").contains(READ));
    refused!(open(&dir, ".", OpenFlags::empty(), WRITE).await, IsDirectory);
    for (asked, made) in [
        (DescriptorFlags::empty(), READ | WRITE),
        (READ, READ | WRITE),
        (WRITE, WRITE),
        (READ | WRITE, READ | WRITE),
    ] {
        let file = open(&dir, "file", NEW, asked).await.expect("a new file");
        assert_eq!(file.get_flags().await.expect("flags"), made, "a new file, asked for {asked:?}");
        drop(file);
        for (asked, got) in [(DescriptorFlags::empty(), READ), (READ, READ), (WRITE, WRITE)] {
            let file = open(&dir, "file", OpenFlags::empty(), asked).await.expect("a file");
            assert_eq!(file.get_flags().await.expect("flags"), got, "asked for {asked:?}");
        }
        // Without making anything, this one means nothing.
        open(&dir, "file", OpenFlags::EXCLUSIVE, READ).await.expect("a file");
        dir.unlink_file_at("file".into()).await.expect("removed");
    }
    done("flags").await;
}

/// A write that is over has been seen by everyone.
pub(crate) async fn at_once() {
    let dir = folder("at-once").await;
    let file = create(&dir, "file", b"").await;
    let other = open(&dir, "file", OpenFlags::empty(), DescriptorFlags::READ).await.expect("a file");
    let (mut writer, reader) = wit_stream::new();
    let written = file.append_via_stream(reader);
    let mut size = 0;
    for piece in [1usize, 1000, 100_000, 3] {
        assert!(writer.write_all(vec![b'x'; piece]).await.is_empty());
        size += piece as u64;
        assert_eq!(other.stat().await.expect("a stat").size, size, "after a piece of {piece}");
    }
    drop(writer);
    written.await.expect("written");
    file.set_size(42).await.expect("cut");
    assert_eq!(other.stat().await.expect("a stat").size, 42);
    open(&dir, "file", OpenFlags::TRUNCATE, DescriptorFlags::WRITE).await.expect("cut");
    assert_eq!(other.stat().await.expect("a stat").size, 0);
    refused!(other.set_size(100).await, Invalid | BadDescriptor | Access | NotPermitted);
    refused!(file.set_size(u64::MAX).await, Invalid | FileTooLarge);
    let (bytes, ended) = file.read_via_stream(u64::MAX);
    assert!(bytes.collect().await.is_empty());
    refused!(ended.await, Invalid);
    // Without a name, it goes on.
    dir.unlink_file_at("file".into()).await.expect("removed");
    file.set_size(7).await.expect("set");
    assert_eq!(other.stat().await.expect("a stat").size, 7);
    assert_eq!(read(&other, 0).await, [0; 7]);
    done("at-once").await;
}

/// Names that are none, that lead out, or that are of another kind.
pub(crate) async fn paths() {
    let dir = folder("paths").await;
    let file = create(&dir, "file", b"bytes").await;
    dir.symlink_at("..".into(), "up".into()).await.expect("a link");
    for name in ["", ".", "..", "/", "/a", "../paths/a", "up/a", "up/paths/a"] {
        // A name that is empty is nobody's, and one that leads out is not looked at.
        let outside = !matches!(name, "" | ".");
        let made = dir.create_directory_at(name.into()).await;
        let linked = dir.link_at(NO, "file".into(), &dir, name.into()).await;
        let moved = dir.rename_at("file".into(), &dir, name.into()).await;
        let removed = dir.remove_directory_at(name.into()).await;
        let opened = open(&dir, name, OpenFlags::empty(), DescriptorFlags::READ).await.map(drop);
        let looked = dir.stat_at(NO, name.into()).await.map(drop);
        let then = Instant { seconds: 1, nanoseconds: 0 };
        let timed =
            dir.set_times_at(NO, name.into(), NewTimestamp::Timestamp(then), NewTimestamp::NoChange).await;
        if outside {
            for done in [made, linked, moved, removed, opened, looked, timed] {
                refused!(done, NotPermitted);
            }
        } else if name.is_empty() {
            for done in [made, linked, moved, removed, opened, looked, timed] {
                refused!(done, NoEntry);
            }
        } else {
            refused!(made, Exist);
            refused!(linked, Exist);
            refused!(removed, Invalid | Access | Busy | NotPermitted);
            opened.expect("itself");
            looked.expect("itself");
            timed.expect("itself");
            refused!(moved, Busy | Invalid | Access | Exist | IsDirectory | NotEmpty);
        }
        refused!(dir.unlink_file_at(name.into()).await, NoEntry | NotPermitted | IsDirectory | Access);
    }
    // The file is where it was, and no folder.
    dir.rename_at("file".into(), &dir, "file".into()).await.expect("onto itself");
    for name in [".", "file", "a/b"] {
        refused!(file.stat_at(NO, name.into()).await, NotDirectory);
        refused!(file.readlink_at(name.into()).await, NotDirectory);
        refused!(open(&file, name, OpenFlags::empty(), DescriptorFlags::READ).await, NotDirectory);
    }
    refused!(dir.symlink_at("".into(), "link".into()).await, NoEntry);
    refused!(dir.symlink_at("file".into(), "".into()).await, NoEntry);
    refused!(dir.readlink_at(".".into()).await, Invalid);
    refused!(dir.readlink_at("..".into()).await, NotPermitted);
    dir.create_directory_at("made/".into()).await.expect("a slash at the end of a folder's name");
    refused!(dir.link_at(NO, "made".into(), &dir, "other".into()).await, NotPermitted | Access);
    let made =
        open(&dir, "made", OpenFlags::DIRECTORY, DescriptorFlags::MUTATE_DIRECTORY).await.expect("made");
    refused!(made.create_directory_at("../other".into()).await, NotPermitted);
    dir.rename_at("file".into(), &made, "file".into()).await.expect("into another folder");
    refused!(dir.stat_at(NO, "file".into()).await, NoEntry);
    made.rename_at("file".into(), &dir, "file".into()).await.expect("and back");
    drop(made);
    dir.remove_directory_at("made".into()).await.expect("removed");
    for name in ["up", "file"] {
        dir.unlink_file_at(name.into()).await.expect("removed");
    }
    done("paths").await;
}

/// It is advice, so it may be as strange as it likes; but a folder takes none.
pub(crate) async fn advice() {
    let dir = folder("advice").await;
    let file = create(&dir, "file", &[1; 10_000]).await;
    for advice in [
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::WillNeed,
        Advice::DontNeed,
        Advice::NoReuse,
    ] {
        for (at, length) in [(0, 0), (0, 10_000), (5_000, 10), (10_000, 0), (20_000, 5)] {
            file.advise(at, length, advice).await.expect("taken");
        }
    }
    refused!(dir.advise(0, 0, Advice::Normal).await, BadDescriptor);
    file.sync().await.expect("synced");
    let only = open(&dir, "file", OpenFlags::empty(), DescriptorFlags::READ).await.expect("a file");
    only.sync_data().await.expect("nothing to do");
    only.sync().await.expect("nothing to do");
    let itself = dir.stat().await.expect("a stat");
    assert!(matches!(itself.type_, DescriptorType::Directory));
    for time in
        [itself.data_access_timestamp, itself.data_modification_timestamp, itself.status_change_timestamp]
    {
        assert!(time.is_none_or(|time| time.nanoseconds < 1_000_000_000));
    }
    dir.unlink_file_at("file".into()).await.expect("removed");
    done("advice").await;
}
