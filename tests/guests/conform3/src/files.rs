//! wasi:filesystem: each check in a folder of its own below `/tmp`, which is gone afterwards.

use wasip3::{
    clocks::system_clock::Instant,
    filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags},
    },
    wit_stream,
};

use crate::refused;

const BOTH: DescriptorFlags = DescriptorFlags::READ.union(DescriptorFlags::WRITE);
const NEW: OpenFlags = OpenFlags::CREATE.union(OpenFlags::EXCLUSIVE);

/// An empty folder of this name.
pub(crate) async fn folder(name: &str) -> Descriptor {
    let tmp = tmp().await;
    tmp.create_directory_at(name.into()).await.expect("a new folder");
    let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
    tmp.open_at(PathFlags::empty(), name.into(), OpenFlags::DIRECTORY, flags).await.expect("the folder")
}

/// It has to be empty by now.
pub(crate) async fn done(name: &str) {
    tmp().await.remove_directory_at(name.into()).await.expect("an empty folder can be removed");
}

/// `/tmp`, or the folder that it is in.
async fn tmp() -> Descriptor {
    let mut root = None;
    for (folder, path) in get_directories() {
        match path.as_str() {
            "/tmp" => return folder,
            "/" => root = Some(folder),
            _ => {}
        }
    }
    let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
    let root = root.expect("/tmp or /");
    root.open_at(PathFlags::empty(), "tmp".into(), OpenFlags::DIRECTORY, flags).await.expect("/tmp")
}

pub(crate) async fn create(dir: &Descriptor, name: &str, bytes: &[u8]) -> Descriptor {
    let file = dir.open_at(PathFlags::empty(), name.into(), NEW, BOTH).await.expect("a new file");
    write(&file, 0, bytes).await;
    file
}

async fn write(file: &Descriptor, at: u64, bytes: &[u8]) {
    let (mut writer, reader) = wit_stream::new();
    let written = file.write_via_stream(reader, at);
    assert!(writer.write_all(bytes.to_vec()).await.is_empty());
    drop(writer);
    written.await.expect("written");
}

pub(crate) async fn read(file: &Descriptor, at: u64) -> Vec<u8> {
    let (bytes, ended) = file.read_via_stream(at);
    let bytes = bytes.collect().await;
    ended.await.expect("read");
    bytes
}

pub(crate) async fn write_read() {
    let dir = folder("write-read").await;
    let file = create(&dir, "file", b"hello, file").await;
    assert_eq!(read(&file, 0).await, b"hello, file");
    assert_eq!(read(&file, 7).await, b"file");
    assert_eq!(read(&file, 11).await, b"", "at the end");
    assert_eq!(read(&file, 1000).await, b"", "after the end");
    write(&file, 7, b"moon and sun").await;
    assert_eq!(read(&file, 0).await, b"hello, moon and sun");
    // A hole is zeroes.
    write(&file, 22, b"!").await;
    assert_eq!(read(&file, 17).await, b"un\0\0\0!");
    let long: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    write(&file, 0, &long).await;
    assert!(read(&file, 0).await == long, "300,000 bytes differ");
    file.sync().await.expect("synced");
    file.sync_data().await.expect("synced");
    dir.unlink_file_at("file".into()).await.expect("removed");
    done("write-read").await;
}

pub(crate) async fn append() {
    let dir = folder("append").await;
    let file = create(&dir, "file", b"one").await;
    for more in [", two", ", three"] {
        let (mut writer, reader) = wit_stream::new();
        let written = file.append_via_stream(reader);
        assert!(writer.write_all(more.as_bytes().to_vec()).await.is_empty());
        drop(writer);
        written.await.expect("appended");
    }
    assert_eq!(read(&file, 0).await, b"one, two, three");
    dir.unlink_file_at("file".into()).await.expect("removed");
    done("append").await;
}

/// Either side may stop early.
pub(crate) async fn stream_ends() {
    let dir = folder("stream-ends").await;
    let file = create(&dir, "file", &[7; 100_000]).await;
    let (mut bytes, ended) = file.read_via_stream(0);
    assert_eq!(bytes.next().await, Some(7));
    drop(bytes);
    let _ = ended.await;
    // Two at once, each with its own place.
    let ((one, one_ended), (two, two_ended)) = (file.read_via_stream(0), file.read_via_stream(50_000));
    let (one, two) = futures::join!(one.collect(), two.collect());
    assert_eq!((one.len(), two.len()), (100_000, 50_000));
    one_ended.await.expect("read");
    two_ended.await.expect("read");
    // For reading only, writing fails, and says so.
    let only = dir.open_at(PathFlags::empty(), "file".into(), OpenFlags::empty(), DescriptorFlags::READ);
    let only = only.await.expect("for reading");
    let (mut writer, reader) = wit_stream::new();
    let written = only.write_via_stream(reader, 0);
    let _ = writer.write_all(b"x".to_vec()).await;
    drop(writer);
    refused!(written.await, BadDescriptor | NotPermitted);
    // And a folder is no file.
    let (bytes, ended) = dir.read_via_stream(0);
    assert_eq!(bytes.collect().await, b"");
    refused!(ended.await, BadDescriptor | IsDirectory);
    dir.unlink_file_at("file".into()).await.expect("removed");
    done("stream-ends").await;
}

pub(crate) async fn open() {
    let dir = folder("open").await;
    let at = |name: &str, open, flags| dir.open_at(PathFlags::empty(), name.into(), open, flags);
    refused!(at("none", OpenFlags::empty(), DescriptorFlags::READ).await, NoEntry);
    refused!(at("", OpenFlags::empty(), DescriptorFlags::READ).await, NoEntry);
    refused!(at("none/file", OpenFlags::CREATE, BOTH).await, NoEntry);
    let file = create(&dir, "file", b"bytes").await;
    refused!(at("file", NEW, BOTH).await, Exist);
    refused!(at("file", OpenFlags::DIRECTORY, DescriptorFlags::READ).await, NotDirectory);
    refused!(at("file/file", OpenFlags::empty(), DescriptorFlags::READ).await, NotDirectory);
    let flags = file.get_flags().await.expect("flags");
    assert!(flags.contains(BOTH), "{flags:?}");
    assert!(matches!(file.get_type().await, Ok(DescriptorType::RegularFile)));
    assert!(matches!(dir.get_type().await, Ok(DescriptorType::Directory)));
    at("file", OpenFlags::TRUNCATE, BOTH).await.expect("cut");
    assert_eq!(read(&file, 0).await, b"");
    dir.unlink_file_at("file".into()).await.expect("removed");
    // Who has it open has it still.
    write(&file, 0, b"gone").await;
    assert_eq!(read(&file, 0).await, b"gone");
    done("open").await;
}

pub(crate) async fn directories() {
    let dir = folder("directories").await;
    dir.create_directory_at("a".into()).await.expect("a");
    refused!(dir.create_directory_at("a".into()).await, Exist);
    refused!(dir.create_directory_at("".into()).await, NoEntry);
    refused!(dir.create_directory_at("b/c".into()).await, NoEntry);
    dir.create_directory_at("a/b".into()).await.expect("a/b");
    refused!(dir.remove_directory_at("a".into()).await, NotEmpty);
    refused!(dir.remove_directory_at("none".into()).await, NoEntry);
    refused!(dir.unlink_file_at("a".into()).await, IsDirectory | NotPermitted);
    drop(create(&dir, "file", b"").await);
    refused!(dir.remove_directory_at("file".into()).await, NotDirectory);
    refused!(dir.unlink_file_at("none".into()).await, NoEntry);
    dir.unlink_file_at("file".into()).await.expect("removed");
    dir.remove_directory_at("a/b".into()).await.expect("removed");
    dir.remove_directory_at("a".into()).await.expect("removed");
    done("directories").await;
}

pub(crate) async fn read_directory() {
    let dir = folder("read-directory").await;
    let count = 300;
    for n in 0..count {
        drop(create(&dir, &format!("file-{n}"), b"").await);
    }
    dir.create_directory_at("folder".into()).await.expect("a folder");
    let (entries, ended) = dir.read_directory();
    let mut names = entries.collect().await;
    ended.await.expect("read");
    // Neither of the two that every folder has.
    assert!(names.iter().all(|entry| entry.name != "." && entry.name != ".."));
    assert_eq!(names.len(), count + 1);
    let at = names.iter().position(|entry| entry.name == "folder").expect("the folder");
    assert!(matches!(names.swap_remove(at).type_, DescriptorType::Directory));
    assert!(names.iter().all(|entry| matches!(entry.type_, DescriptorType::RegularFile)));
    let mut names: Vec<_> = names.into_iter().map(|entry| entry.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "each of them once");
    let file = dir.open_at(PathFlags::empty(), "file-0".into(), OpenFlags::empty(), DescriptorFlags::READ);
    let (entries, ended) = file.await.expect("a file").read_directory();
    assert!(entries.collect().await.is_empty());
    refused!(ended.await, NotDirectory | BadDescriptor);
    for name in names {
        dir.unlink_file_at(name).await.expect("removed");
    }
    dir.remove_directory_at("folder".into()).await.expect("removed");
    done("read-directory").await;
}

pub(crate) async fn rename_link() {
    let dir = folder("rename-link").await;
    drop(create(&dir, "one", b"1").await);
    dir.rename_at("one".into(), &dir, "two".into()).await.expect("renamed");
    refused!(dir.rename_at("one".into(), &dir, "three".into()).await, NoEntry);
    drop(create(&dir, "one", b"another").await);
    dir.rename_at("one".into(), &dir, "two".into()).await.expect("over what was there");
    dir.create_directory_at("folder".into()).await.expect("a folder");
    refused!(dir.rename_at("two".into(), &dir, "folder".into()).await, IsDirectory);
    refused!(dir.rename_at("folder".into(), &dir, "two".into()).await, NotDirectory);
    refused!(dir.rename_at("folder".into(), &dir, "folder/in".into()).await, Invalid);
    dir.link_at(PathFlags::empty(), "two".into(), &dir, "folder/link".into()).await.expect("linked");
    let stat = dir.stat_at(PathFlags::empty(), "folder/link".into()).await.expect("a stat");
    assert_eq!((stat.link_count, stat.size), (2, 7));
    refused!(dir.link_at(PathFlags::empty(), "two".into(), &dir, "folder/link".into()).await, Exist);
    refused!(dir.link_at(PathFlags::empty(), "none".into(), &dir, "other".into()).await, NoEntry);
    dir.unlink_file_at("two".into()).await.expect("removed");
    let stat = dir.stat_at(PathFlags::empty(), "folder/link".into()).await.expect("a stat");
    assert_eq!(stat.link_count, 1);
    dir.unlink_file_at("folder/link".into()).await.expect("removed");
    dir.remove_directory_at("folder".into()).await.expect("removed");
    done("rename-link").await;
}

pub(crate) async fn symlinks() {
    let dir = folder("symlinks").await;
    drop(create(&dir, "file", b"seven b").await);
    dir.symlink_at("file".into(), "link".into()).await.expect("a link");
    assert_eq!(dir.readlink_at("link".into()).await.expect("its text"), "file");
    refused!(dir.readlink_at("file".into()).await, Invalid);
    refused!(dir.symlink_at("file".into(), "link".into()).await, Exist);
    let (itself, target) = futures::join!(
        dir.stat_at(PathFlags::empty(), "link".into()),
        dir.stat_at(PathFlags::SYMLINK_FOLLOW, "link".into())
    );
    assert!(matches!(itself.expect("a stat").type_, DescriptorType::SymbolicLink));
    let target = target.expect("a stat");
    assert!(matches!(target.type_, DescriptorType::RegularFile) && target.size == 7);
    let open = |name: &str, flags| dir.open_at(flags, name.into(), OpenFlags::empty(), DescriptorFlags::READ);
    refused!(open("link", PathFlags::empty()).await, Loop);
    let file = open("link", PathFlags::SYMLINK_FOLLOW).await.expect("what it points to");
    assert_eq!(read(&file, 0).await, b"seven b");
    dir.symlink_at("round".into(), "round".into()).await.expect("a link to itself");
    refused!(open("round", PathFlags::SYMLINK_FOLLOW).await, Loop);
    // Out of the folder leads no link.
    refused!(dir.symlink_at("/etc/passwd".into(), "out".into()).await, NotPermitted);
    dir.symlink_at("../..".into(), "up".into()).await.expect("it may point anywhere");
    refused!(open("up", PathFlags::SYMLINK_FOLLOW).await, NotPermitted);
    for name in ["link", "file", "round", "up"] {
        dir.unlink_file_at(name.into()).await.expect("removed");
    }
    done("symlinks").await;
}

pub(crate) async fn size_times() {
    let dir = folder("size-times").await;
    let file = create(&dir, "file", b"0123456789").await;
    file.set_size(4).await.expect("cut");
    assert_eq!(read(&file, 0).await, b"0123");
    file.set_size(6).await.expect("longer");
    assert_eq!(read(&file, 0).await, b"0123\0\0");
    assert_eq!(file.stat().await.expect("a stat").size, 6);
    let then = Instant { seconds: 1_000_000_000, nanoseconds: 500_000_000 };
    file.set_times(NewTimestamp::NoChange, NewTimestamp::Timestamp(then)).await.expect("set");
    let modified =
        || async { file.stat().await.expect("a stat").data_modification_timestamp.expect("a time") };
    assert_eq!(modified().await.seconds, 1_000_000_000);
    let set = dir.set_times_at(PathFlags::empty(), "file".into(), NewTimestamp::NoChange, NewTimestamp::Now);
    set.await.expect("set");
    assert!(modified().await.seconds > 1_700_000_000);
    refused!(
        dir.set_times_at(PathFlags::empty(), "none".into(), NewTimestamp::Now, NewTimestamp::Now).await,
        NoEntry
    );
    dir.unlink_file_at("file".into()).await.expect("removed");
    done("size-times").await;
}

pub(crate) async fn same_object() {
    let dir = folder("same-object").await;
    let (one, other) = (create(&dir, "one", b"1").await, create(&dir, "other", b"1").await);
    let again = dir.open_at(PathFlags::empty(), "one".into(), OpenFlags::empty(), DescriptorFlags::READ);
    let again = again.await.expect("once more");
    assert!(one.is_same_object(&again).await);
    assert!(!one.is_same_object(&other).await);
    assert!(dir.is_same_object(&dir).await);
    let hash = |it: wasip3::filesystem::types::MetadataHashValue| (it.lower, it.upper);
    let (one, at) =
        futures::join!(one.metadata_hash(), dir.metadata_hash_at(PathFlags::empty(), "one".into()));
    let one = hash(one.expect("a hash"));
    assert_eq!(one, hash(at.expect("a hash")));
    assert_ne!(one, hash(other.metadata_hash().await.expect("a hash")));
    for name in ["one", "other"] {
        dir.unlink_file_at(name.into()).await.expect("removed");
    }
    done("same-object").await;
}

/// A folder is all there is.
pub(crate) async fn dots() {
    let dir = folder("dots").await;
    let stat = |path: &str| dir.stat_at(PathFlags::SYMLINK_FOLLOW, path.into());
    for path in ["..", "../dots", "/", "/tmp", "a/../..", "./.."] {
        if path == "a/../.." {
            dir.create_directory_at("a".into()).await.expect("a");
        }
        refused!(stat(path).await, NotPermitted);
    }
    for path in [".", "a", "a/..", "a/../a", "./a/.", "a//", "a/"] {
        let stat = stat(path).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert!(matches!(stat.type_, DescriptorType::Directory));
    }
    dir.remove_directory_at("a".into()).await.expect("removed");
    done("dots").await;
}
