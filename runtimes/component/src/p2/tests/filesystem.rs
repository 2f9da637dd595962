use lunette_hostcalls::{Errno, MountId, fake::FAKE_EPOCH};
use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    bindings::wasi::io::streams::{Host as _, HostInputStream, HostOutputStream, StreamError as Told},
    streams::StreamError,
};

use super::{io::again, *};
use crate::p2::{
    MAX_PIECE,
    bindings::wasi::{
        clocks::wall_clock::Datetime,
        filesystem::{
            preopens,
            types::{
                Advice, DescriptorFlags as Flags, DescriptorType, ErrorCode, Host as _, HostDescriptor as _,
                HostDirectoryEntryStream, NewTimestamp, OpenFlags, PathFlags,
            },
        },
    },
    fault::Fault,
    filesystem::Descriptor,
};

type Fd = Resource<Descriptor>;

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;

fn both() -> Flags {
    Flags::READ | Flags::WRITE
}

/// `/` (read-only, with `etc/motd`) and `/tmp` (writable).
fn start(bench: &Bench) -> (State, Fd, Fd) {
    bench.world.files.insert_file(MountId::ROOT, "etc/motd", b"hello", 7).unwrap();
    let mut state = bench.state();
    let preopens = preopens::Host::get_directories(&mut state).unwrap();
    let [(root, slash), (tmp, tmp_name)] = preopens.try_into().ok().unwrap();
    assert_eq!((slash.as_str(), tmp_name.as_str()), ("/", "/tmp"));
    (state, root, tmp)
}

#[track_caller]
fn code<T>(answer: Result<T, Fault>) -> ErrorCode {
    match answer.err().expect("an error") {
        Fault::Errno(errno) => crate::p2::fault::code(errno),
        Fault::Trap(error) => panic!("a trap: {error}"),
    }
}

impl State {
    fn open(&mut self, dir: &Fd, path: &str, open: OpenFlags, flags: Flags) -> Result<Fd, Fault> {
        self.open_at(again(dir), FOLLOW, path.into(), open, flags)
    }

    fn make(&mut self, dir: &Fd, path: &str, bytes: &[u8]) -> Fd {
        let file = self.open(dir, path, OpenFlags::CREATE, both()).ok().unwrap();
        assert_eq!(self.write(again(&file), bytes.to_vec(), 0).unwrap(), bytes.len() as u64);
        file
    }

    fn names(&mut self, dir: &Fd) -> Vec<String> {
        let entries = self.read_directory(again(dir)).unwrap();
        let mut names = Vec::new();
        while let Some(entry) = self.read_directory_entry(again(&entries)).unwrap() {
            names.push(format!("{} {:?}", entry.name, entry.type_));
        }
        HostDirectoryEntryStream::drop(self, entries).unwrap();
        names.sort();
        names
    }
}

#[test]
fn files_are_opened_for_what_is_asked() {
    let bench = Bench::new();
    let (mut state, root, tmp) = start(&bench);
    let motd = state.open(&root, "etc/motd", OpenFlags::empty(), Flags::READ).unwrap();
    assert_eq!(state.get_flags(again(&motd)).unwrap(), Flags::READ);
    assert_eq!(state.get_type(again(&motd)).unwrap(), DescriptorType::RegularFile);
    assert_eq!(code(state.write(again(&motd), b"x".to_vec(), 0)), ErrorCode::BadDescriptor);
    assert_eq!(code(state.write_via_stream(again(&motd), 0)), ErrorCode::BadDescriptor);
    assert_eq!(code(state.append_via_stream(again(&motd))), ErrorCode::BadDescriptor);
    assert_eq!(code(state.set_size(again(&motd), 0)), ErrorCode::BadDescriptor);
    for (path, open, flags, error) in [
        ("etc/none", OpenFlags::empty(), Flags::READ, ErrorCode::NoEntry),
        ("etc/motd", OpenFlags::empty(), both(), ErrorCode::ReadOnly),
        ("etc/motd", OpenFlags::DIRECTORY, Flags::READ, ErrorCode::NotDirectory),
        ("etc/motd/", OpenFlags::empty(), Flags::READ, ErrorCode::NotDirectory),
        ("etc", OpenFlags::empty(), both(), ErrorCode::IsDirectory),
        ("etc/new", OpenFlags::CREATE, both(), ErrorCode::ReadOnly),
        ("etc", OpenFlags::DIRECTORY | OpenFlags::CREATE, Flags::READ, ErrorCode::Invalid),
        ("", OpenFlags::empty(), Flags::READ, ErrorCode::NoEntry),
        ("/etc/motd", OpenFlags::empty(), Flags::READ, ErrorCode::NotPermitted),
        ("../etc/motd", OpenFlags::empty(), Flags::READ, ErrorCode::NotPermitted),
        ("etc/../../x", OpenFlags::empty(), Flags::READ, ErrorCode::NotPermitted),
        ("a\0b", OpenFlags::empty(), Flags::READ, ErrorCode::Invalid),
    ] {
        assert_eq!(code(state.open(&root, path, open, flags)), error, "{path}");
    }
    let long = "x".repeat(5000);
    assert_eq!(code(state.open(&root, &long, OpenFlags::empty(), Flags::READ)), ErrorCode::NameTooLong);
    // New files can be written, whatever was said; none is made twice.
    let new = state.open(&tmp, "new", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, Flags::empty()).unwrap();
    assert_eq!(state.get_flags(again(&new)).unwrap(), both());
    let again_new = state.open(&tmp, "new", OpenFlags::CREATE | OpenFlags::EXCLUSIVE, both());
    assert_eq!(code(again_new), ErrorCode::Exist);
    let writer = state.open(&tmp, "new", OpenFlags::empty(), Flags::WRITE).unwrap();
    assert_eq!(code(state.read(again(&writer), 1, 0)), ErrorCode::BadDescriptor);
    assert_eq!(code(state.read_via_stream(again(&writer), 0)), ErrorCode::BadDescriptor);
    // Directories know whether they can be changed.
    assert_eq!(state.get_flags(again(&root)).unwrap(), Flags::READ);
    assert_eq!(state.get_flags(again(&tmp)).unwrap(), Flags::READ | Flags::MUTATE_DIRECTORY);
    assert_eq!(code(state.read_via_stream(again(&tmp), 0)), ErrorCode::IsDirectory);
    assert_eq!(code(state.read_directory(again(&new))), ErrorCode::NotDirectory);
    assert_eq!(code(state.stat_at(again(&new), PathFlags::empty(), "x".into())), ErrorCode::NotDirectory);
}

#[test]
fn bytes_are_read_and_written_where_it_is_said() {
    let bench = Bench::new();
    let (mut state, _, tmp) = start(&bench);
    let file = state.make(&tmp, "file", b"0123456789");
    assert_eq!(state.read(again(&file), 4, 3).unwrap(), (b"3456".to_vec(), false));
    assert_eq!(state.read(again(&file), 100, 8).unwrap(), (b"89".to_vec(), false));
    assert_eq!(state.read(again(&file), 100, 10).unwrap(), (Vec::new(), true));
    assert_eq!(state.read(again(&file), 0, 0).unwrap(), (Vec::new(), false));
    assert_eq!(state.read(again(&file), 1, u64::MAX).unwrap(), (Vec::new(), true));
    assert_eq!(state.write(again(&file), b"ab".to_vec(), 12).unwrap(), 2);
    assert_eq!(state.read(again(&file), 6, 8).unwrap().0, b"89\0\0ab");
    assert_eq!(code(state.write(again(&file), b"ab".to_vec(), u64::MAX)), ErrorCode::FileTooLarge);
    assert_eq!(code(state.set_size(again(&file), u64::MAX)), ErrorCode::Invalid);
    state.set_size(again(&file), 3).unwrap();
    assert_eq!(state.stat(again(&file)).unwrap().size, 3);
    // A hole is no reason for a buffer.
    state.set_size(again(&file), 1 << 40).unwrap();
    assert_eq!(state.read(again(&file), u64::MAX, 0).unwrap().0.len(), MAX_PIECE);
    state.advise(again(&file), 0, 100, Advice::Sequential).unwrap();
    assert_eq!(code(state.advise(again(&file), u64::MAX, 1, Advice::Normal)), ErrorCode::Invalid);
    state.sync(again(&file)).unwrap();
    state.sync_data(again(&tmp)).unwrap();
    let cut = state.open(&tmp, "file", OpenFlags::TRUNCATE, Flags::WRITE).unwrap();
    assert_eq!(state.stat(cut).unwrap().size, 0);
}

#[test]
fn files_are_streams() {
    let bench = Bench::new();
    let (mut state, _, tmp) = start(&bench);
    let file = state.make(&tmp, "file", b"0123456789");
    let input = state.read_via_stream(again(&file), 4).unwrap();
    let output = state.write_via_stream(again(&file), 9).unwrap();
    let append = state.append_via_stream(again(&file)).unwrap();
    assert_eq!(HostInputStream::read(&mut state.table, again(&input), 3).unwrap(), b"456");
    HostOutputStream::check_write(&mut state.table, again(&output)).unwrap();
    HostOutputStream::write(&mut state.table, again(&output), b"xy".to_vec()).unwrap();
    bench
        .run(HostOutputStream::blocking_write_and_flush(&mut state.table, again(&append), b"end".to_vec()))
        .unwrap();
    bench
        .run(HostOutputStream::blocking_write_and_flush(&mut state.table, again(&output), b"z".to_vec()))
        .unwrap();
    assert_eq!(
        bench.run(HostInputStream::blocking_read(&mut state.table, again(&input), 100)).unwrap(),
        b"78xyznd"
    );
    let end = HostInputStream::read(&mut state.table, again(&input), 1);
    assert!(matches!(end, Err(StreamError::Closed)), "{end:?}");
    // What was opened lives on.
    state.unlink_file_at(again(&tmp), "file".into()).unwrap();
    assert_eq!(state.read(file, 2, 0).unwrap().0, b"01");
}

#[test]
fn a_full_disk_is_told_by_name() {
    let bench = Bench::of(FakeWorld::with_tmp(1, Some(1 << 16)));
    let (mut state, _, tmp) = start(&bench);
    let file = state.make(&tmp, "file", b"");
    let stream = state.write_via_stream(again(&file), 0).unwrap();
    let error = loop {
        HostOutputStream::check_write(&mut state.table, again(&stream)).unwrap();
        if let Err(error) = HostOutputStream::write(&mut state.table, again(&stream), vec![1; MAX_PIECE]) {
            break error;
        }
    };
    let Ok(Told::LastOperationFailed(error)) = state.table.convert_stream_error(error) else { panic!() };
    assert_eq!(state.filesystem_error_code(again(&error)).unwrap(), Some(ErrorCode::InsufficientSpace));
    let other = state.table.push(wasmtime::Error::msg("something else")).unwrap();
    assert_eq!(state.filesystem_error_code(other).unwrap(), None);
    let closed = HostOutputStream::check_write(&mut state.table, again(&stream));
    assert!(matches!(closed, Err(StreamError::Closed)), "{closed:?}");
}

#[test]
fn directories_are_listed_made_and_removed() {
    let bench = Bench::new();
    let (mut state, root, tmp) = start(&bench);
    assert!(
        state.names(&root).contains(&"etc DescriptorType::Directory".to_owned()),
        "{:?}",
        state.names(&root)
    );
    state.create_directory_at(again(&tmp), "a/".into()).unwrap();
    state.make(&tmp, "a/file", b"x");
    state.symlink_at(again(&tmp), "a".into(), "link".into()).unwrap();
    let (directory, file, link) =
        ("DescriptorType::Directory", "DescriptorType::RegularFile", "DescriptorType::SymbolicLink");
    assert_eq!(state.names(&tmp), [format!("a {directory}"), format!("link {link}")]);
    let a = state.open(&tmp, "link", OpenFlags::DIRECTORY, Flags::READ).unwrap();
    assert_eq!(state.names(&a), [format!("file {file}")]);
    assert_eq!(code(state.create_directory_at(again(&tmp), "a".into())), ErrorCode::Exist);
    assert_eq!(code(state.create_directory_at(again(&root), "b".into())), ErrorCode::ReadOnly);
    assert_eq!(code(state.remove_directory_at(again(&tmp), "a".into())), ErrorCode::NotEmpty);
    assert_eq!(code(state.unlink_file_at(again(&tmp), "a".into())), ErrorCode::IsDirectory);
    assert_eq!(code(state.remove_directory_at(again(&tmp), "a/file".into())), ErrorCode::NotDirectory);
    // What is added while a listing is under way does no harm to it.
    let entries = state.read_directory(again(&a)).unwrap();
    state.unlink_file_at(again(&a), "file".into()).unwrap();
    assert!(state.read_directory_entry(entries).unwrap().is_none());
    state.remove_directory_at(again(&tmp), "a".into()).unwrap();
    assert_eq!(code(state.remove_directory_at(again(&tmp), "a".into())), ErrorCode::NoEntry);
}

#[test]
fn links_lead_nowhere_else() {
    let bench = Bench::new();
    let (mut state, root, tmp) = start(&bench);
    state.make(&tmp, "file", b"x");
    state.symlink_at(again(&tmp), "file".into(), "link".into()).unwrap();
    assert_eq!(state.readlink_at(again(&tmp), "link".into()).unwrap(), "file");
    assert_eq!(code(state.readlink_at(again(&tmp), "file".into())), ErrorCode::Invalid);
    let kind = |state: &mut State, flags| state.stat_at(again(&tmp), flags, "link".into()).unwrap().type_;
    assert_eq!(kind(&mut state, PathFlags::empty()), DescriptorType::SymbolicLink);
    assert_eq!(kind(&mut state, FOLLOW), DescriptorType::RegularFile);
    let unfollowed =
        state.open_at(again(&tmp), PathFlags::empty(), "link".into(), OpenFlags::empty(), Flags::READ);
    assert_eq!(code(unfollowed), ErrorCode::Loop);
    assert_eq!(
        code(state.symlink_at(again(&tmp), "/etc/motd".into(), "out".into())),
        ErrorCode::NotPermitted
    );
    state.symlink_at(again(&tmp), "../etc/motd".into(), "out".into()).unwrap();
    assert_eq!(code(state.open(&tmp, "out", OpenFlags::empty(), Flags::READ)), ErrorCode::NotPermitted);
    state.symlink_at(again(&tmp), "round".into(), "round".into()).unwrap();
    assert_eq!(code(state.stat_at(again(&tmp), FOLLOW, "round".into())), ErrorCode::Loop);
    // A second name.
    let link = state.link_at(again(&tmp), PathFlags::empty(), "file".into(), again(&tmp), "second".into());
    link.unwrap();
    assert_eq!(state.stat_at(again(&tmp), PathFlags::empty(), "second".into()).unwrap().link_count, 2);
    let followed = state.link_at(again(&tmp), FOLLOW, "link".into(), again(&tmp), "third".into());
    assert_eq!(code(followed), ErrorCode::Invalid);
    let across = state.link_at(again(&tmp), PathFlags::empty(), "file".into(), again(&root), "third".into());
    assert!(matches!(code(across), ErrorCode::CrossDevice | ErrorCode::ReadOnly));
    // Moved.
    state.rename_at(again(&tmp), "second".into(), again(&tmp), "file2".into()).unwrap();
    assert_eq!(code(state.stat_at(again(&tmp), PathFlags::empty(), "second".into())), ErrorCode::NoEntry);
    let into_nothing = state.rename_at(again(&tmp), "file2".into(), again(&tmp), "no/where".into());
    assert_eq!(code(into_nothing), ErrorCode::NoEntry);
    let file_to_directory = state.rename_at(again(&tmp), "file2".into(), again(&tmp), "x/".into());
    assert_eq!(code(file_to_directory), ErrorCode::NotDirectory);
    let out = state.rename_at(again(&tmp), "file2".into(), again(&tmp), "../etc/x".into());
    assert_eq!(code(out), ErrorCode::NotPermitted);
}

#[test]
fn times_are_set_and_told() {
    let bench = Bench::new();
    let (mut state, root, tmp) = start(&bench);
    let file = state.make(&tmp, "file", b"x");
    let at = |seconds, nanoseconds| NewTimestamp::Timestamp(Datetime { seconds, nanoseconds });
    state.set_times(again(&file), at(5, 6), NewTimestamp::NoChange).unwrap();
    let stat = state.stat(again(&file)).unwrap();
    let told = |time: Option<Datetime>| time.map(|time| (time.seconds, time.nanoseconds));
    let seconds = FAKE_EPOCH / 1_000_000_000;
    assert_eq!(told(stat.data_access_timestamp), Some((5, 6)));
    assert_eq!(told(stat.data_modification_timestamp), Some((seconds, 0)));
    bench.world.clock.advance(3_000_000_000);
    state.set_times_at(again(&tmp), PathFlags::empty(), "file".into(), NewTimestamp::Now, at(1, 0)).unwrap();
    let stat = state.stat_at(again(&tmp), PathFlags::empty(), "file".into()).unwrap();
    assert_eq!(told(stat.data_access_timestamp), Some((seconds + 3, 0)));
    assert_eq!(told(stat.data_modification_timestamp), Some((1, 0)));
    assert_eq!(told(stat.status_change_timestamp), Some((seconds + 3, 0)));
    for late in [at(u64::MAX, 0), at(u64::MAX / 1_000_000_000, u32::MAX)] {
        assert_eq!(code(state.set_times(again(&file), late, NewTimestamp::NoChange)), ErrorCode::Overflow);
    }
    let read_only =
        state.set_times_at(again(&root), PathFlags::empty(), "etc/motd".into(), at(1, 1), at(1, 1));
    assert_eq!(code(read_only), ErrorCode::ReadOnly);
}

#[test]
fn what_is_the_same_is_known_to_be() {
    let bench = Bench::new();
    let (mut state, root, tmp) = start(&bench);
    let (one, other) = (state.make(&tmp, "one", b"x"), state.make(&tmp, "other", b"x"));
    let twin = state.open(&tmp, "one", OpenFlags::empty(), Flags::READ).unwrap();
    assert!(state.is_same_object(again(&one), again(&twin)).unwrap());
    assert!(!state.is_same_object(again(&one), again(&other)).unwrap());
    let hash = |state: &mut State, fd: &Fd| {
        let hash = state.metadata_hash(again(fd)).unwrap();
        (hash.lower, hash.upper)
    };
    let of_one = hash(&mut state, &one);
    assert_eq!(of_one, hash(&mut state, &twin));
    assert_ne!(of_one, hash(&mut state, &other));
    assert_ne!(hash(&mut state, &root), hash(&mut state, &tmp));
    let at = state.metadata_hash_at(again(&tmp), PathFlags::empty(), "one".into()).unwrap();
    assert_eq!((at.lower, at.upper), of_one);
    // It is the same file after it was changed.
    state.write(again(&one), b"longer".to_vec(), 0).unwrap();
    assert_eq!(hash(&mut state, &one), of_one);
}

#[test]
fn more_descriptors_than_there_may_be_are_an_error() {
    let bench = Bench::new();
    let (mut state, root, _) = start(&bench);
    let error = loop {
        match state.open(&root, "etc", OpenFlags::empty(), Flags::READ) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Fault::Errno(Errno::Mfile)));
    assert_eq!(code::<()>(Err(error)), ErrorCode::InsufficientMemory);
}
