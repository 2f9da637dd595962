//! wasi:filesystem: each check in a folder of its own below `/tmp`, which is gone afterwards.

use std::ops::Deref;

use wasip2::{
    clocks::wall_clock::Datetime,
    filesystem::{
        preopens::get_directories,
        types::{
            Advice, Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags,
            PathFlags, filesystem_error_code,
        },
    },
    io::streams::{InputStream, StreamError},
};

use crate::refused;

const NO: PathFlags = PathFlags::empty();
const BOTH: DescriptorFlags = DescriptorFlags::READ.union(DescriptorFlags::WRITE);
const NEW: OpenFlags = OpenFlags::CREATE.union(OpenFlags::EXCLUSIVE);

pub(crate) struct Folder {
    name: &'static str,
    dir: Descriptor,
}

impl Deref for Folder {
    type Target = Descriptor;

    fn deref(&self) -> &Descriptor {
        &self.dir
    }
}

impl Folder {
    /// An empty one of this name.
    pub(crate) fn new(name: &'static str) -> Self {
        let tmp = tmp();
        tmp.create_directory_at(name).expect("a new folder");
        let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
        Self { name, dir: tmp.open_at(NO, name, OpenFlags::DIRECTORY, flags).expect("the folder") }
    }

    pub(crate) fn create(&self, name: &str, bytes: &[u8]) -> Descriptor {
        let file = self.open_at(NO, name, NEW, BOTH).expect("a new file");
        write(&file, 0, bytes);
        file
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        read(&self.open_at(NO, name, OpenFlags::empty(), DescriptorFlags::READ).expect("a file"), 0)
    }

    /// These files are all that is left in it.
    pub(crate) fn remove(self, files: &[&str]) {
        for file in files {
            self.unlink_file_at(file).expect("removed");
        }
        tmp().remove_directory_at(self.name).expect("an empty folder can be removed");
    }
}

/// `/tmp`, or the folder that it is in.
fn tmp() -> Descriptor {
    let mut root = None;
    for (folder, path) in get_directories() {
        match path.as_str() {
            "/tmp" => return folder,
            "/" => root = Some(folder),
            _ => {}
        }
    }
    let flags = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
    root.expect("/tmp or /").open_at(NO, "tmp", OpenFlags::DIRECTORY, flags).expect("/tmp")
}

/// A write may take less than all.
fn write(file: &Descriptor, mut at: u64, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let n = file.write(bytes, at).expect("written");
        assert!(n > 0);
        bytes = &bytes[n as usize..];
        at += n;
    }
}

fn read(file: &Descriptor, mut at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let (more, end) = file.read(1 << 16, at).expect("read");
        at += more.len() as u64;
        bytes.extend(&more);
        if end {
            return bytes;
        }
    }
}

fn to_end(input: &InputStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match input.blocking_read(1 << 16) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => return bytes,
            Err(StreamError::LastOperationFailed(error)) => panic!("{}", error.to_debug_string()),
        }
    }
}

pub(crate) fn write_read() {
    let dir = Folder::new("write-read");
    let file = dir.create("file", b"hello, file");
    assert_eq!(read(&file, 0), b"hello, file");
    assert_eq!(file.read(3, 7).expect("read").0, b"fil");
    let (bytes, end) = file.read(10, 11).expect("read");
    assert!(bytes.is_empty() && end, "at the end");
    let (bytes, end) = file.read(10, 1000).expect("read");
    assert!(bytes.is_empty() && end, "after the end");
    write(&file, 7, b"moon and sun");
    assert_eq!(read(&file, 0), b"hello, moon and sun");
    // A hole is zeroes.
    write(&file, 22, b"!");
    assert_eq!(read(&file, 17), b"un\0\0\0!");
    let long: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    write(&file, 0, &long);
    assert!(read(&file, 0) == long, "300,000 bytes differ");
    file.sync().expect("synced");
    file.sync_data().expect("synced");
    file.advise(0, 1000, Advice::Sequential).expect("advised");
    drop(file);
    dir.remove(&["file"]);
}

pub(crate) fn streams() {
    let dir = Folder::new("streams");
    let file = dir.create("file", b"one");
    for more in [", two", ", three"] {
        let stream = file.append_via_stream().expect("a stream");
        stream.blocking_write_and_flush(more.as_bytes()).expect("appended");
    }
    assert_eq!(read(&file, 0), b"one, two, three");
    // Each stream has a place of its own.
    let (one, two) = (file.read_via_stream(0).expect("a stream"), file.read_via_stream(5).expect("a stream"));
    assert_eq!(two.blocking_read(3).expect("read"), b"two");
    assert_eq!(one.blocking_read(3).expect("read"), b"one");
    assert_eq!((to_end(&two), to_end(&one)), (b", three".to_vec(), b", two, three".to_vec()));
    drop((one, two));
    let stream = file.write_via_stream(4).expect("a stream");
    for part in [b"(2)", b"[3]"] {
        // Each write needs a leave of its own.
        while stream.check_write().expect("room") == 0 {
            stream.subscribe().block();
        }
        stream.write(part).expect("written");
    }
    stream.blocking_flush().expect("written");
    drop(stream);
    assert_eq!(read(&file, 0), b"one,(2)[3]three");
    drop(file);
    dir.remove(&["file"]);
}

pub(crate) fn open() {
    let dir = Folder::new("open");
    let at = |name: &str, open, flags| dir.open_at(NO, name, open, flags);
    refused!(at("none", OpenFlags::empty(), DescriptorFlags::READ), NoEntry);
    refused!(at("", OpenFlags::empty(), DescriptorFlags::READ), NoEntry);
    refused!(at("none/file", OpenFlags::CREATE, BOTH), NoEntry);
    let file = dir.create("file", b"bytes");
    refused!(at("file", NEW, BOTH), Exist);
    refused!(at("file", OpenFlags::DIRECTORY, DescriptorFlags::READ), NotDirectory);
    refused!(at("file/file", OpenFlags::empty(), DescriptorFlags::READ), NotDirectory);
    let flags = file.get_flags().expect("flags");
    assert!(flags.contains(BOTH), "{flags:?}");
    assert_eq!(file.get_type().expect("a type"), DescriptorType::RegularFile);
    assert_eq!(dir.get_type().expect("a type"), DescriptorType::Directory);
    let only = at("file", OpenFlags::empty(), DescriptorFlags::READ).expect("for reading");
    refused!(only.write(b"x", 0), BadDescriptor | NotPermitted);
    // Some hosts say it at once, some when it is written to.
    if let Ok(stream) = only.write_via_stream(0) {
        stream.blocking_write_and_flush(b"x").expect_err("for reading only");
    }
    refused!(dir.read(1, 0), BadDescriptor | IsDirectory);
    refused!(dir.read_via_stream(0), BadDescriptor | IsDirectory);
    at("file", OpenFlags::TRUNCATE, BOTH).expect("cut");
    assert!(read(&file, 0).is_empty());
    dir.unlink_file_at("file").expect("removed");
    // Who has it open has it still.
    write(&file, 0, b"gone");
    assert_eq!(read(&file, 0), b"gone");
    dir.remove(&[]);
}

pub(crate) fn directories() {
    let dir = Folder::new("directories");
    dir.create_directory_at("a").expect("a");
    refused!(dir.create_directory_at("a"), Exist);
    refused!(dir.create_directory_at(""), NoEntry);
    refused!(dir.create_directory_at("b/c"), NoEntry);
    dir.create_directory_at("a/b").expect("a/b");
    refused!(dir.remove_directory_at("a"), NotEmpty);
    refused!(dir.remove_directory_at("none"), NoEntry);
    refused!(dir.unlink_file_at("a"), IsDirectory | NotPermitted);
    drop(dir.create("file", b""));
    refused!(dir.remove_directory_at("file"), NotDirectory);
    refused!(dir.unlink_file_at("none"), NoEntry);
    dir.remove_directory_at("a/b").expect("removed");
    dir.remove_directory_at("a").expect("removed");
    dir.remove(&["file"]);
}

pub(crate) fn read_directory() {
    let dir = Folder::new("read-directory");
    let mut expected: Vec<String> = (0..300).map(|n| format!("file-{n}")).collect();
    for name in &expected {
        drop(dir.create(name, b""));
    }
    dir.create_directory_at("folder").expect("a folder");
    let stream = dir.read_directory().expect("a stream");
    let mut names = Vec::new();
    // Neither of the two that every folder has.
    while let Some(entry) = stream.read_directory_entry().expect("read") {
        let folder = entry.name == "folder";
        let kind = if folder { DescriptorType::Directory } else { DescriptorType::RegularFile };
        assert_eq!(entry.type_, kind, "{}", entry.name);
        if !folder {
            names.push(entry.name);
        }
    }
    assert!(stream.read_directory_entry().expect("the end, still").is_none());
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    let file = dir.open_at(NO, "file-0", OpenFlags::empty(), DescriptorFlags::READ).expect("a file");
    refused!(file.read_directory(), NotDirectory | BadDescriptor);
    dir.remove_directory_at("folder").expect("removed");
    dir.remove(&names.iter().map(String::as_str).collect::<Vec<_>>());
}

pub(crate) fn rename_link() {
    let dir = Folder::new("rename-link");
    drop(dir.create("one", b"1"));
    dir.rename_at("one", &dir, "two").expect("renamed");
    refused!(dir.rename_at("one", &dir, "three"), NoEntry);
    drop(dir.create("one", b"another"));
    dir.rename_at("one", &dir, "two").expect("over what was there");
    dir.create_directory_at("folder").expect("a folder");
    refused!(dir.rename_at("two", &dir, "folder"), IsDirectory);
    refused!(dir.rename_at("folder", &dir, "two"), NotDirectory);
    refused!(dir.rename_at("folder", &dir, "folder/in"), Invalid);
    dir.link_at(NO, "two", &dir, "folder/link").expect("linked");
    let stat = dir.stat_at(NO, "folder/link").expect("a stat");
    assert_eq!((stat.link_count, stat.size), (2, 7));
    refused!(dir.link_at(NO, "two", &dir, "folder/link"), Exist);
    refused!(dir.link_at(NO, "none", &dir, "other"), NoEntry);
    dir.unlink_file_at("two").expect("removed");
    assert_eq!(dir.stat_at(NO, "folder/link").expect("a stat").link_count, 1);
    dir.unlink_file_at("folder/link").expect("removed");
    dir.remove_directory_at("folder").expect("removed");
    dir.remove(&[]);
}

pub(crate) fn symlinks() {
    let dir = Folder::new("symlinks");
    drop(dir.create("file", b"seven b"));
    dir.symlink_at("file", "link").expect("a link");
    assert_eq!(dir.readlink_at("link").expect("its text"), "file");
    refused!(dir.readlink_at("file"), Invalid);
    refused!(dir.symlink_at("file", "link"), Exist);
    assert_eq!(dir.stat_at(NO, "link").expect("a stat").type_, DescriptorType::SymbolicLink);
    let target = dir.stat_at(PathFlags::SYMLINK_FOLLOW, "link").expect("a stat");
    assert_eq!((target.type_, target.size), (DescriptorType::RegularFile, 7));
    let open = |name: &str, flags| dir.open_at(flags, name, OpenFlags::empty(), DescriptorFlags::READ);
    refused!(open("link", NO), Loop);
    assert_eq!(read(&open("link", PathFlags::SYMLINK_FOLLOW).expect("what it points to"), 0), b"seven b");
    dir.symlink_at("round", "round").expect("a link to itself");
    refused!(open("round", PathFlags::SYMLINK_FOLLOW), Loop);
    // Out of the folder leads no link.
    refused!(dir.symlink_at("/etc/passwd", "out"), NotPermitted);
    dir.symlink_at("../..", "up").expect("it may point anywhere");
    refused!(open("up", PathFlags::SYMLINK_FOLLOW), NotPermitted);
    dir.remove(&["link", "file", "round", "up"]);
}

pub(crate) fn size_times() {
    let dir = Folder::new("size-times");
    let file = dir.create("file", b"0123456789");
    file.set_size(4).expect("cut");
    assert_eq!(read(&file, 0), b"0123");
    file.set_size(6).expect("longer");
    assert_eq!(read(&file, 0), b"0123\0\0");
    assert_eq!(file.stat().expect("a stat").size, 6);
    let then = Datetime { seconds: 1_000_000_000, nanoseconds: 500_000_000 };
    file.set_times(NewTimestamp::NoChange, NewTimestamp::Timestamp(then)).expect("set");
    let modified = || file.stat().expect("a stat").data_modification_timestamp.expect("a time").seconds;
    assert_eq!(modified(), 1_000_000_000);
    dir.set_times_at(NO, "file", NewTimestamp::NoChange, NewTimestamp::Now).expect("set");
    assert!(modified() > 1_700_000_000);
    refused!(dir.set_times_at(NO, "none", NewTimestamp::Now, NewTimestamp::Now), NoEntry);
    dir.remove(&["file"]);
}

pub(crate) fn same_object() {
    let dir = Folder::new("same-object");
    let (one, other) = (dir.create("one", b"1"), dir.create("other", b"1"));
    let again = dir.open_at(NO, "one", OpenFlags::empty(), DescriptorFlags::READ).expect("once more");
    assert!(one.is_same_object(&again));
    assert!(!one.is_same_object(&other));
    assert!(dir.is_same_object(&dir));
    let hash = |it: wasip2::filesystem::types::MetadataHashValue| (it.lower, it.upper);
    let hash_of_one = hash(one.metadata_hash().expect("a hash"));
    assert_eq!(hash_of_one, hash(dir.metadata_hash_at(NO, "one").expect("a hash")));
    assert_ne!(hash_of_one, hash(other.metadata_hash().expect("a hash")));
    dir.remove(&["one", "other"]);
}

/// A folder is all there is.
pub(crate) fn dots() {
    let dir = Folder::new("dots");
    dir.create_directory_at("a").expect("a");
    let stat = |path: &str| dir.stat_at(PathFlags::SYMLINK_FOLLOW, path);
    for path in ["..", "../dots", "/", "/tmp", "a/../..", "./.."] {
        refused!(stat(path), NotPermitted);
    }
    for path in [".", "a", "a/..", "a/../a", "./a/.", "a//", "a/"] {
        let stat = stat(path).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert_eq!(stat.type_, DescriptorType::Directory);
    }
    dir.remove_directory_at("a").expect("removed");
    dir.remove(&[]);
}

/// What went wrong with a stream of a file is a file's error, and no other's.
pub(crate) fn errors() {
    let dir = Folder::new("errors");
    let file = dir.create("file", b"1234567890");
    let stream = file.write_via_stream(u64::MAX - 1).expect("a stream");
    match stream.blocking_write_and_flush(b"beyond what a file can be") {
        Err(StreamError::LastOperationFailed(error)) => {
            assert!(!error.to_debug_string().is_empty());
            let code = filesystem_error_code(&error).expect("a file's error");
            assert!(
                matches!(code, ErrorCode::Invalid | ErrorCode::FileTooLarge | ErrorCode::Overflow),
                "{code:?}"
            );
        }
        other => panic!("written beyond the end of all files: {other:?}"),
    }
    drop(stream);
    dir.remove(&["file"]);
}
