//! Files, directories, links and descriptors, as a guest sees them. Much of this retells, in one process, what the
//! programs of the official WASI test suite demand of a host.

mod wasi_guest;

use lunette_hostcalls::Errno;
use lunette_wasm::wasi::MAX_DESCRIPTORS;
use wasi_guest::{rights::*, *};

#[test]
fn preopened_directories_come_after_the_streams() {
    let mut guest = Guest::new();
    for (fd, name) in [(ROOT, "/"), (READ_ONLY, "/bundle"), (SMALL, "small")] {
        guest.tell("fd_prestat_get", &[fd.into(), RESULT.into()]).unwrap();
        let length = guest.u32(RESULT + 4);
        assert_eq!((guest.bytes(RESULT, 4), length as usize), (&[0; 4][..], name.len()));
        let short = guest.tell("fd_prestat_dir_name", &[fd.into(), PATH.into(), u64::from(length) - 1]);
        assert_eq!(short, Err(Errno::Nametoolong));
        guest.put(PATH, b"################");
        guest.tell("fd_prestat_dir_name", &[fd.into(), PATH.into(), 16]).unwrap();
        assert_eq!(guest.bytes(PATH, length), name.as_bytes());
        assert_eq!(guest.memory[(PATH + length) as usize], b'#', "what is behind the name stays");
    }
    let own = guest.open(ROOT, ".", DIRECTORY, 0).unwrap();
    for (fd, get, name) in [
        (0, Errno::Badf, Errno::Notdir),
        (own, Errno::Badf, Errno::Notdir),
        (own + 1, Errno::Badf, Errno::Badf),
        (u32::MAX, Errno::Badf, Errno::Badf),
    ] {
        assert_eq!(guest.tell("fd_prestat_get", &[fd.into(), RESULT.into()]), Err(get));
        assert_eq!(guest.tell("fd_prestat_dir_name", &[fd.into(), PATH.into(), 16]), Err(name));
    }
}

#[test]
fn a_preopened_directory_can_do_all_that_guests_expect() {
    let mut guest = Guest::new();
    let stat = guest.fdstat(ROOT).unwrap();
    assert_eq!((stat.kind, stat.flags), (3, 0));
    // What wasmtime gives, and what wasi-libc masks its requests with.
    let directory = 0x07b7_fe00;
    assert_eq!(stat.base & directory, directory);
    assert_eq!(stat.base & (FD_SEEK | FD_WRITE | FD_READ | FD_FILESTAT_SET_SIZE), 0);
    assert_eq!(stat.inheriting & FILE, FILE);
    assert_eq!(stat.inheriting & stat.base, stat.base);

    // The same rights again, none, reading: a directory. Writing: not.
    guest.path_open(ROOT, 0, ".", 0, stat.base, stat.inheriting, 0).unwrap();
    guest.path_open(ROOT, 0, ".", 0, 0, 0, NONBLOCK).unwrap();
    guest.path_open(ROOT, 0, ".", DIRECTORY, FD_READ, 0, 0).unwrap();
    let both = guest.path_open(ROOT, 0, ".", DIRECTORY, FD_READ | FD_WRITE, 0, 0);
    assert_eq!(both, Err(Errno::Isdir));
}

#[test]
fn descriptors_are_numbered_from_the_lowest_free_one() {
    let mut guest = Guest::new();
    assert_eq!(guest.open(ROOT, "a", CREAT, FILE), Ok(6));
    assert_eq!(guest.open(ROOT, "b", CREAT, FILE), Ok(7));
    guest.close(6).unwrap();
    guest.close(0).unwrap();
    assert_eq!(guest.close(6), Err(Errno::Badf));
    assert_eq!(guest.open(ROOT, "a", 0, FILE), Ok(0));
    assert_eq!(guest.open(ROOT, "a", 0, FILE), Ok(6));
    assert_eq!(guest.open(ROOT, "a", 0, FILE), Ok(8));
    for _ in 9..MAX_DESCRIPTORS as u32 {
        guest.open(ROOT, "a", 0, 0).unwrap();
    }
    assert_eq!(guest.open(ROOT, "new", CREAT, 0), Err(Errno::Mfile));
    assert_eq!(guest.stat(ROOT, 0, "new"), Err(Errno::Noent), "nothing was made");
    guest.close(500).unwrap();
    assert_eq!(guest.open(ROOT, "new", CREAT, 0), Ok(500));
}

#[test]
fn renumbering_closes_what_was_there() {
    let mut guest = Guest::new();
    let renumber =
        |guest: &mut Guest, from: u32, to: u32| guest.tell("fd_renumber", &[from.into(), to.into()]);
    let a = guest.open(ROOT, "a", CREAT, FD_READ | FD_WRITE).unwrap();
    let b = guest.open(ROOT, "b", CREAT, FD_READ).unwrap();
    let before = guest.fdstat(a).unwrap();
    renumber(&mut guest, a, b).unwrap();
    assert_eq!(guest.close(a), Err(Errno::Badf));
    assert_eq!(guest.fdstat(b), Ok(before));
    assert_eq!(renumber(&mut guest, b, a), Err(Errno::Badf));
    assert_eq!(renumber(&mut guest, a, b), Err(Errno::Badf));
    assert_eq!(renumber(&mut guest, b, b), Ok(()));
    assert_eq!(renumber(&mut guest, u32::MAX, u32::MAX), Err(Errno::Badf));

    // Over a preopened directory: the number is one no more.
    let dir = guest.dir(ROOT, ".").unwrap();
    let inode = guest.fstat(dir).unwrap().inode;
    renumber(&mut guest, dir, ROOT).unwrap();
    assert_eq!(guest.fstat(ROOT).unwrap().inode, inode);
    assert_eq!(guest.tell("fd_prestat_get", &[ROOT.into(), RESULT.into()]), Err(Errno::Badf));
    assert_eq!(guest.fdstat(dir), Err(Errno::Badf));

    // Streams too.
    let file = guest.open(ROOT, "a", 0, 0).unwrap();
    renumber(&mut guest, 1, file).unwrap();
    assert_eq!(guest.write(file, b"moved"), Ok(5));
    assert_eq!(guest.world.stdio.stdout(), b"moved");
    assert_eq!(guest.write(1, b"gone"), Err(Errno::Badf));
}

#[test]
fn opening_says_what_is_wrong() {
    let mut guest = Guest::new();
    guest.mkdir(ROOT, "dir").unwrap();
    guest.file(ROOT, "dir/file", b"content");
    guest.symlink("dir", ROOT, "to_dir").unwrap();
    guest.symlink("dir/file", ROOT, "to_file").unwrap();
    guest.symlink("nowhere", ROOT, "dangling").unwrap();
    guest.symlink("loop", ROOT, "loop").unwrap();
    let cases: &[(&str, u32, u32, u64, Errno)] = &[
        ("missing", 0, 0, 0, Errno::Noent),
        ("missing/file", 0, CREAT, 0, Errno::Noent),
        ("missing/", 0, CREAT, 0, Errno::Isdir),
        ("", 0, 0, 0, Errno::Noent),
        ("dir/file/more", 0, 0, 0, Errno::Notdir),
        ("dir/file/", 0, 0, 0, Errno::Notdir),
        ("dir/file///", 0, 0, 0, Errno::Notdir),
        ("dir/file", 0, DIRECTORY, 0, Errno::Notdir),
        ("dir/file", 0, CREAT | EXCL, 0, Errno::Exist),
        ("dir", 0, 0, FD_WRITE, Errno::Isdir),
        ("dir", 0, CREAT, 0, Errno::Isdir),
        ("dir", 0, TRUNC, 0, Errno::Isdir),
        ("dir", 0, CREAT | DIRECTORY, 0, Errno::Inval),
        ("dir", 0, EXCL | DIRECTORY, 0, Errno::Inval),
        ("dir", 0, TRUNC | DIRECTORY, 0, Errno::Inval),
        ("dir", 0, 16, 0, Errno::Inval),
        ("dir", 2, 0, 0, Errno::Inval),
        ("dir", 0, 0, 1 << 30, Errno::Inval),
        ("dir/file\0", 0, 0, 0, Errno::Inval),
        ("/dir/file", 0, 0, 0, Errno::Perm),
        ("../file", 0, CREAT, 0, Errno::Perm),
        ("dir/../../dir/file", 0, 0, 0, Errno::Perm),
        ("to_dir", 0, 0, 0, Errno::Loop),
        ("to_dir", 0, DIRECTORY, 0, Errno::Notdir),
        ("to_file", FOLLOW, DIRECTORY, 0, Errno::Notdir),
        ("dangling", 0, 0, 0, Errno::Loop),
        ("dangling", FOLLOW, 0, 0, Errno::Noent),
        ("dangling", FOLLOW, CREAT | EXCL, 0, Errno::Exist),
        ("loop", 0, 0, 0, Errno::Loop),
        ("loop", FOLLOW, 0, 0, Errno::Loop),
    ];
    for &(path, follow, oflags, base, errno) in cases {
        let opened = guest.path_open(ROOT, follow, path, oflags, base, 0, 0);
        assert_eq!(opened, Err(errno), "{path:?} {follow} {oflags}");
    }
    assert_eq!(guest.path_open(ROOT, 0, "dir", 0, 0, 0, 32), Err(Errno::Inval));
    assert_eq!(guest.open(ROOT, &"x".repeat(256), CREAT, 0), Err(Errno::Nametoolong));
    assert_eq!(guest.open(ROOT, &"x/".repeat(2049), 0, 0), Err(Errno::Nametoolong));
    guest.put(PATH, b"\xff\xfe");
    let path = [ROOT.into(), 0, PATH.into(), 2, 0, 0, 0, 0, RESULT.into()];
    assert_eq!(guest.tell("path_open", &path), Err(Errno::Ilseq));

    for path in ["dir", "dir/", "dir///", "dir/.", "dir/..", "to_dir/", "dir/.//../dir/../to_dir/file"] {
        guest.open(ROOT, path, 0, 0).unwrap_or_else(|errno| panic!("{path}: {errno}"));
    }
    guest.path_open(ROOT, FOLLOW, "to_dir", DIRECTORY, 0, 0, 0).unwrap();
    guest.path_open(ROOT, FOLLOW, "to_file", 0, 0, 0, 0).unwrap();
    guest.path_open(ROOT, FOLLOW, "dangling", CREAT, 0, 0, 0).unwrap();
    assert_eq!(guest.stat(ROOT, 0, "nowhere").unwrap().kind, 4, "made where the link leads");

    let file = guest.open(ROOT, "dir/file", 0, 0).unwrap();
    assert_eq!(guest.open(file, "x", CREAT, 0), Err(Errno::Notdir));
    assert_eq!(guest.open(0, "x", CREAT, 0), Err(Errno::Badf));
    assert_eq!(guest.open(999, "x", CREAT, 0), Err(Errno::Badf));
}

#[test]
fn nothing_outside_of_a_directory_can_be_reached() {
    let mut guest = Guest::new();
    for path in ["..", "../..", "out", "absolute", "/", "dir/../..", "out/x", "dir/../../bundle"] {
        assert_eq!(guest.path_open(READ_ONLY, FOLLOW, path, 0, 0, 0, 0), Err(Errno::Perm), "{path}");
        assert_eq!(guest.stat(READ_ONLY, FOLLOW, path), Err(Errno::Perm), "{path}");
    }
    let dir = guest.dir(READ_ONLY, "dir").unwrap();
    assert_eq!(guest.open(dir, "../hello.txt", 0, 0), Err(Errno::Perm));
    assert_eq!(guest.open(dir, "..", 0, 0), Err(Errno::Perm));
    assert_eq!(guest.rename(ROOT, "..", ROOT, "x"), Err(Errno::Perm));
    assert_eq!(guest.mkdir(ROOT, "../x"), Err(Errno::Perm));
    assert_eq!(guest.mkdir(ROOT, "/x"), Err(Errno::Perm));
    assert_eq!(guest.mkdir(ROOT, "/"), Err(Errno::Perm));
    assert_eq!(guest.symlink("x", ROOT, "/x"), Err(Errno::Perm));
    assert_eq!(guest.symlink("/", ROOT, "x"), Err(Errno::Perm));
    // A link may say what it likes; walking it is another matter.
    guest.symlink("../../etc", ROOT, "x").unwrap();
    assert_eq!(guest.path_open(ROOT, FOLLOW, "x", 0, 0, 0, 0), Err(Errno::Perm));
    assert_eq!(guest.readlink(ROOT, "x", 100).unwrap(), b"../../etc");
}

#[test]
fn a_read_only_directory_stays_as_it_is() {
    let mut guest = Guest::new();
    let file = guest.open(READ_ONLY, "hello.txt", 0, READING).unwrap();
    assert_eq!(guest.read(file, 100).unwrap(), b"hello, world");
    let before = guest.stat(READ_ONLY, 0, "hello.txt").unwrap();
    assert_eq!(guest.open(READ_ONLY, "hello.txt", 0, WRITING), Err(Errno::Rofs));
    assert_eq!(guest.open(READ_ONLY, "hello.txt", TRUNC, 0), Err(Errno::Rofs));
    assert_eq!(guest.open(READ_ONLY, "new", CREAT, 0), Err(Errno::Rofs));
    guest.open(READ_ONLY, "hello.txt", CREAT, READING).unwrap();
    assert_eq!(guest.mkdir(READ_ONLY, "new"), Err(Errno::Rofs));
    assert_eq!(guest.rmdir(READ_ONLY, "dir"), Err(Errno::Rofs));
    assert_eq!(guest.unlink(READ_ONLY, "hello.txt"), Err(Errno::Rofs));
    assert_eq!(guest.symlink("x", READ_ONLY, "new"), Err(Errno::Rofs));
    assert_eq!(guest.link(READ_ONLY, 0, "hello.txt", READ_ONLY, "new"), Err(Errno::Rofs));
    assert_eq!(guest.rename(READ_ONLY, "hello.txt", READ_ONLY, "new"), Err(Errno::Rofs));
    assert_eq!(guest.set_times(READ_ONLY, 0, "hello.txt", (1, 1), 5), Err(Errno::Rofs));
    assert_eq!(guest.tell("fd_filestat_set_times", &[file.into(), 1, 1, 5]), Err(Errno::Rofs));
    assert_eq!(guest.tell("fd_filestat_set_size", &[file.into(), 1]), Err(Errno::Rofs));
    assert_eq!(guest.link(READ_ONLY, 0, "hello.txt", ROOT, "new"), Err(Errno::Xdev));
    assert_eq!(guest.rename(ROOT, "missing", READ_ONLY, "new"), Err(Errno::Noent));
    assert_eq!(guest.stat(READ_ONLY, 0, "hello.txt").unwrap(), before);
}

#[test]
fn writing_and_reading_move_on() {
    let mut guest = Guest::new();
    let file = guest.open(ROOT, "file", CREAT, FILE).unwrap();
    assert_eq!(guest.fd_tell(file), Ok(0));
    assert_eq!(guest.write(file, &[7; 100]), Ok(100));
    assert_eq!(guest.fd_tell(file), Ok(100));
    assert_eq!(guest.seek(file, -50, 1), Ok(50));
    assert_eq!(guest.seek(file, 0, 0), Ok(0));
    assert_eq!(guest.seek(file, -10, 2), Ok(90));
    assert_eq!(guest.seek(file, 1000, 1), Ok(1090));
    assert_eq!(guest.read(file, 10).unwrap(), b"");
    for (offset, whence) in [(-2000, 1), (-1, 0), (-101, 2), (i64::MIN, 1), (0, 3), (0, u32::MAX)] {
        assert_eq!(guest.seek(file, offset, whence), Err(Errno::Inval), "{offset} {whence}");
    }
    assert_eq!(guest.fd_tell(file), Ok(1090), "a failed seek does not move");
    assert_eq!(guest.seek(file, 0, 0), Ok(0));
    assert_eq!(guest.read(file, 60).unwrap(), [7; 60]);
    assert_eq!(guest.read(file, 60).unwrap(), [7; 40]);
    assert_eq!(guest.fd_tell(file), Ok(100));

    // A hole reads as zeros.
    guest.seek(file, 10, 2).unwrap();
    guest.write(file, b"end").unwrap();
    assert_eq!(guest.pread(file, 100, 98).unwrap(), [&[7; 2][..], &[0; 10], b"end"].concat());

    // Beyond all sizes.
    assert_eq!(guest.seek(file, i64::MAX, 0), Ok(i64::MAX as u64));
    assert_eq!(guest.seek(file, i64::MAX, 1), Ok(u64::MAX - 1));
    assert_eq!(guest.seek(file, 2, 1), Err(Errno::Inval));
    assert_eq!(guest.read(file, 10).unwrap(), b"");
    assert_eq!(guest.write(file, b"far"), Err(Errno::Fbig));
    assert_eq!(guest.pwrite(file, b"far", u64::MAX), Err(Errno::Fbig));
    assert_eq!(guest.pread(file, 10, u64::MAX).unwrap(), b"");
}

#[test]
fn reading_and_writing_at_an_offset_do_not_move() {
    let mut guest = Guest::new();
    let file = guest.open(ROOT, "file", CREAT, FILE).unwrap();
    assert_eq!(guest.pwrite(file, &[0, 1, 2, 3], 0), Ok(4));
    assert_eq!(guest.pread(file, 4, 0).unwrap(), [0, 1, 2, 3]);
    assert_eq!(guest.pread(file, 4, 2).unwrap(), [2, 3]);
    assert_eq!(guest.pwrite(file, &[1, 0], 2), Ok(2));
    assert_eq!(guest.pread(file, 4, 0).unwrap(), [0, 1, 1, 0]);
    assert_eq!(guest.pread(file, 4, 4).unwrap(), b"");
    assert_eq!(guest.fd_tell(file), Ok(0));
    // Without the right to seek there is no offset.
    guest.narrow(file, FD_READ | FD_WRITE, 0);
    assert_eq!(guest.pread(file, 4, 0), Err(Errno::Notcapable));
    assert_eq!(guest.pwrite(file, b"x", 0), Err(Errno::Notcapable));
    assert_eq!(guest.pread(0, 4, 0), Err(Errno::Spipe));
    assert_eq!(guest.pread(1, 4, 0), Err(Errno::Badf));
    assert_eq!(guest.pwrite(1, b"x", 0), Err(Errno::Spipe));
    assert_eq!(guest.pwrite(0, b"x", 0), Err(Errno::Badf));
}

#[test]
fn many_buffers_are_one_read_or_write() {
    let mut guest = Guest::new();
    let file = guest.open(ROOT, "file", CREAT, FILE).unwrap();
    guest.put(BUFFER, b"abcdefgh");
    guest.iovecs(&[3, 0, 5]);
    guest.tell("fd_write", &[file.into(), IOVECS.into(), 3, RESULT.into()]).unwrap();
    assert_eq!(guest.u32(RESULT), 8);
    guest.seek(file, 0, 0).unwrap();
    guest.put(BUFFER, &[b'.'; 16]);
    guest.iovecs(&[0, 2, 0, 4, 6]);
    guest.tell("fd_read", &[file.into(), IOVECS.into(), 5, RESULT.into()]).unwrap();
    assert_eq!(guest.u32(RESULT), 8);
    assert_eq!(guest.bytes(BUFFER, 12), b"abcdefgh....");
    // No buffers, and only empty ones, wherever they are.
    for count in [0, 1] {
        guest.put(IOVECS, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        guest.tell("fd_read", &[file.into(), IOVECS.into(), count, RESULT.into()]).unwrap();
        assert_eq!(guest.u32(RESULT), 0);
        guest.tell("fd_write", &[file.into(), IOVECS.into(), count, RESULT.into()]).unwrap();
        assert_eq!(guest.u32(RESULT), 0);
    }
    // More than one call takes: the rest is for the next.
    guest.memory = vec![0; 1 << 20];
    for n in 0..2000 {
        guest.put(IOVECS + 8 * n, &[BUFFER.to_le_bytes(), 1_u32.to_le_bytes()].concat());
    }
    guest.tell("fd_write", &[file.into(), IOVECS.into(), 2000, RESULT.into()]).unwrap();
    assert_eq!(guest.u32(RESULT), 1024);
}

#[test]
fn a_full_file_system_takes_what_fits() {
    let mut guest = Guest::new();
    let file = guest.open(SMALL, "file", CREAT, FILE).unwrap();
    let mut total = 0;
    let end = loop {
        match guest.write(file, &[1; 20_000]) {
            Ok(0) => panic!("nothing was written, and no error"),
            Ok(n) => total += u64::from(n),
            Err(errno) => break errno,
        }
    };
    assert_eq!(end, Errno::Nospc);
    assert_eq!(guest.fd_tell(file), Ok(total));
    assert_eq!(guest.fstat(file).unwrap().size, total);
    assert!(total > 20_000 && total < 65_536, "{total}");
}

#[test]
fn appending_goes_to_the_end() {
    let mut guest = Guest::new();
    let file = guest.path_open(ROOT, 0, "file", CREAT, FILE, 0, APPEND).unwrap();
    guest.write(file, b"12").unwrap();
    guest.seek(file, 0, 0).unwrap();
    guest.write(file, b"34").unwrap();
    assert_eq!(guest.fd_tell(file), Ok(4));
    assert_eq!(guest.pwrite(file, b"567", 0), Ok(3));
    assert_eq!(guest.fd_tell(file), Ok(4));
    assert_eq!(guest.pread(file, 10, 0).unwrap(), b"1234567");

    let set = |guest: &mut Guest, flags: u32| guest.tell("fd_fdstat_set_flags", &[file.into(), flags.into()]);
    set(&mut guest, 0).unwrap();
    guest.seek(file, 0, 0).unwrap();
    guest.write(file, b"AB").unwrap();
    assert_eq!(guest.pread(file, 10, 0).unwrap(), b"AB34567");
    set(&mut guest, APPEND | NONBLOCK).unwrap();
    assert_eq!(u32::from(guest.fdstat(file).unwrap().flags), APPEND | NONBLOCK);
    assert_eq!(set(&mut guest, SYNC), Err(Errno::Inval));
    assert_eq!(set(&mut guest, 32), Err(Errno::Inval));
    assert_eq!(guest.tell("fd_fdstat_set_flags", &[ROOT.into(), 0]), Err(Errno::Badf));
    assert_eq!(guest.tell("fd_fdstat_set_flags", &[999, 0]), Err(Errno::Badf));

    // Synchronised from the start: said, and kept.
    let file = guest.path_open(ROOT, 0, "file", 0, FILE, 0, SYNC).unwrap();
    assert_eq!(u32::from(guest.fdstat(file).unwrap().flags), SYNC);
    guest.tell("fd_fdstat_set_flags", &[file.into(), (SYNC | APPEND).into()]).unwrap();
    assert_eq!(guest.tell("fd_fdstat_set_flags", &[file.into(), 0]), Err(Errno::Inval));
}

#[test]
fn what_is_opened_for_one_thing_does_not_do_the_other() {
    let mut guest = Guest::new();
    guest.file(ROOT, "file", b"");
    let reader = guest.open(ROOT, "file", 0, FD_READ).unwrap();
    let writer = guest.open(ROOT, "file", 0, FD_WRITE).unwrap();
    let neither = guest.open(ROOT, "file", 0, 0).unwrap();
    guest.narrow(neither, 0, 0);
    assert_eq!(guest.fdstat(reader).unwrap().base, FILE & !FD_WRITE);
    assert_eq!(guest.fdstat(writer).unwrap().base, FILE & !FD_READ);
    assert_eq!(guest.read(reader, 10).unwrap(), b"");
    assert_eq!(guest.write(reader, b"x"), Err(Errno::Badf));
    assert_eq!(guest.read(writer, 10), Err(Errno::Badf));
    assert_eq!(guest.write(writer, b"x"), Ok(1));
    assert_eq!(guest.read(reader, 10).unwrap(), b"x", "at once, for everybody");
    assert_eq!(guest.read(neither, 10), Err(Errno::Badf));
    assert_eq!(guest.write(neither, b"x"), Err(Errno::Badf));
    for (name, arguments) in [
        ("fd_advise", &[0, 0, 0][..]),
        ("fd_allocate", &[0, 1]),
        ("fd_datasync", &[]),
        ("fd_fdstat_set_flags", &[0]),
        ("fd_filestat_get", &[RESULT.into()]),
        ("fd_filestat_set_size", &[0]),
        ("fd_filestat_set_times", &[0, 0, 0]),
        ("fd_seek", &[0, 0, RESULT.into()]),
        ("fd_sync", &[]),
        ("fd_tell", &[RESULT.into()]),
    ] {
        let all = [&[neither.into()], arguments].concat();
        assert_eq!(guest.tell(name, &all), Err(Errno::Notcapable), "{name}");
    }
    let teller = guest.open(ROOT, "file", 0, 0).unwrap();
    guest.narrow(teller, FD_TELL, 0);
    assert_eq!(guest.fd_tell(teller), Ok(0));
    assert_eq!(guest.seek(teller, 0, 1), Ok(0));
    assert_eq!(guest.seek(teller, 0, 0), Err(Errno::Notcapable));
    let seeker = guest.open(ROOT, "file", 0, 0).unwrap();
    guest.narrow(seeker, FD_SEEK, 0);
    assert_eq!(guest.fd_tell(seeker), Ok(0));
}

#[test]
fn a_directory_without_a_right_refuses() {
    let mut guest = Guest::new();
    guest.file(ROOT, "file", b"x");
    let bare = guest.path_open(ROOT, 0, ".", DIRECTORY, 0, 0, 0).unwrap();
    guest.narrow(bare, 0, 0);
    assert_eq!(guest.open(bare, "file", 0, 0), Err(Errno::Notcapable));
    assert_eq!(guest.mkdir(bare, "x"), Err(Errno::Notcapable));
    assert_eq!(guest.rmdir(bare, "x"), Err(Errno::Notcapable));
    assert_eq!(guest.unlink(bare, "file"), Err(Errno::Notcapable));
    assert_eq!(guest.symlink("x", bare, "x"), Err(Errno::Notcapable));
    assert_eq!(guest.readlink(bare, "file", 1), Err(Errno::Notcapable));
    assert_eq!(guest.stat(bare, 0, "file"), Err(Errno::Notcapable));
    assert_eq!(guest.set_times(bare, 0, "file", (0, 0), 0), Err(Errno::Notcapable));
    assert_eq!(guest.link(bare, 0, "file", ROOT, "x"), Err(Errno::Notcapable));
    assert_eq!(guest.link(ROOT, 0, "file", bare, "x"), Err(Errno::Notcapable));
    assert_eq!(guest.rename(bare, "file", ROOT, "x"), Err(Errno::Notcapable));
    assert_eq!(guest.rename(ROOT, "file", bare, "x"), Err(Errno::Notcapable));
    assert_eq!(guest.readdir(bare, 100, 0), Err(Errno::Notcapable));
    assert_eq!(guest.fstat(bare), Err(Errno::Notcapable));

    let opener = guest.path_open(ROOT, 0, ".", 0, 0, 0, 0).unwrap();
    guest.narrow(opener, PATH_OPEN, FD_READ);
    assert_eq!(guest.open(opener, "new", CREAT, 0), Err(Errno::Notcapable));
    assert_eq!(guest.open(opener, "file", TRUNC, 0), Err(Errno::Notcapable));
    assert_eq!(guest.open(opener, "file", 0, FD_WRITE), Err(Errno::Notcapable));
    let file = guest.open(opener, "file", 0, FD_READ | FD_SEEK).unwrap();
    assert_eq!(guest.fdstat(file).unwrap().base, FD_READ, "no more than may be passed on");
    assert_eq!(guest.fdstat(file).unwrap().inheriting, FD_READ);
}

#[test]
fn who_asks_for_no_rights_gets_what_wasmtime_gives() {
    let mut guest = Guest::new();
    // As programs of old toolchains do, and those written by hand.
    let file = guest.path_open(ROOT, 0, "file", CREAT, 0, 0, 0).unwrap();
    assert_eq!(guest.write(file, b"new"), Ok(3));
    assert_eq!(guest.seek(file, 0, 0), Ok(0));
    assert_eq!(guest.read(file, 9).unwrap(), b"new");
    guest.tell("fd_filestat_set_size", &[file.into(), 2]).unwrap();
    guest.tell("fd_datasync", &[file.into()]).unwrap();

    let file = guest.path_open(ROOT, 0, "file", 0, 0, 0, 0).unwrap();
    assert_eq!(guest.pread(file, 9, 0).unwrap(), b"ne");
    assert_eq!(guest.write(file, b"x"), Err(Errno::Badf), "nobody asked to make it or to cut it off");
    let file = guest.path_open(ROOT, 0, "file", TRUNC, 0, 0, 0).unwrap();
    assert_eq!(guest.write(file, b"x"), Ok(1));
    // Asking to read is asking for no more than that, also of a new file.
    let file = guest.path_open(ROOT, 0, "other", CREAT, FD_READ, 0, 0).unwrap();
    assert_eq!(guest.write(file, b"x"), Err(Errno::Badf));

    guest.mkdir(ROOT, "dir").unwrap();
    let dir = guest.path_open(ROOT, 0, "dir", DIRECTORY, 0, 0, 0).unwrap();
    assert_eq!(guest.fdstat(dir).unwrap(), guest.fdstat(ROOT).unwrap());
    guest.mkdir(dir, "a").unwrap();
    guest.rename(dir, "a", dir, "b").unwrap();
    guest.path_open(dir, 0, "b", DIRECTORY, 0, 0, 0).unwrap();
    assert_eq!(guest.readdir(dir, 1000, 0).unwrap().0.len(), 3);
    guest.file(dir, "file", b"x");
    guest.stat(dir, 0, "file").unwrap();
    guest.unlink(dir, "file").unwrap();
}

#[test]
fn rights_can_only_be_given_up() {
    let mut guest = Guest::new();
    let set = |guest: &mut Guest, fd: u32, base, inheriting| {
        guest.tell("fd_fdstat_set_rights", &[fd.into(), base, inheriting])
    };
    let file = guest.open(ROOT, "file", CREAT, FD_READ | FD_WRITE | FD_SEEK | FD_TELL).unwrap();
    guest.write(file, b"1234").unwrap();
    let before = guest.fdstat(file).unwrap();
    set(&mut guest, file, before.base, before.inheriting).unwrap();
    set(&mut guest, file, FD_SEEK | FD_TELL, before.inheriting).unwrap();
    assert_eq!(guest.fdstat(file).unwrap().base, FD_SEEK | FD_TELL);
    assert_eq!(guest.read(file, 4), Err(Errno::Badf));
    assert_eq!(guest.write(file, b"x"), Err(Errno::Badf));
    assert_eq!(set(&mut guest, file, before.base, before.inheriting), Err(Errno::Notcapable));
    assert_eq!(set(&mut guest, file, 0, ALL), Err(Errno::Notcapable));
    assert_eq!(set(&mut guest, file, 1 << 30, 0), Err(Errno::Inval));
    assert_eq!(set(&mut guest, 999, 0, 0), Err(Errno::Badf));

    // Cutting files off is a right of the directory.
    let dir = guest.dir(ROOT, ".").unwrap();
    let stat = guest.fdstat(dir).unwrap();
    assert_eq!(stat.base & FD_FILESTAT_SET_SIZE, 0);
    assert_ne!(stat.base & PATH_FILESTAT_SET_SIZE, 0);
    guest.open(dir, "file", TRUNC, 0).unwrap();
    assert_eq!(guest.stat(ROOT, 0, "file").unwrap().size, 0);
    set(&mut guest, dir, stat.base, stat.inheriting & !FD_FILESTAT_SET_SIZE).unwrap();
    guest.open(dir, "file", TRUNC, 0).unwrap();
    set(&mut guest, dir, stat.base & !PATH_FILESTAT_SET_SIZE, stat.inheriting & !FD_FILESTAT_SET_SIZE)
        .unwrap();
    assert_eq!(guest.open(dir, "file", TRUNC, 0), Err(Errno::Notcapable));
}

#[test]
fn a_directory_is_no_file() {
    let mut guest = Guest::new();
    let dir = guest.dir(ROOT, ".").unwrap();
    assert_eq!(guest.fdstat(dir).unwrap().base & FD_SEEK, 0);
    assert_eq!(guest.fstat(dir).unwrap().kind, 3);
    assert_eq!(guest.read(dir, 10), Err(Errno::Badf));
    assert_eq!(guest.write(dir, b"x"), Err(Errno::Badf));
    assert_eq!(guest.pread(dir, 10, 0), Err(Errno::Badf));
    assert_eq!(guest.pwrite(dir, b"x", 0), Err(Errno::Badf));
    for whence in 0..3 {
        assert_eq!(guest.seek(dir, 0, whence), Err(Errno::Badf));
    }
    assert_eq!(guest.fd_tell(dir), Err(Errno::Badf));
    assert_eq!(guest.tell("fd_allocate", &[dir.into(), 0, 1]), Err(Errno::Badf));
    assert_eq!(guest.tell("fd_filestat_set_size", &[dir.into(), 0]), Err(Errno::Badf));
    assert_eq!(guest.tell("fd_advise", &[dir.into(), 0, 0, 0]), Err(Errno::Badf));
    guest.tell("fd_sync", &[dir.into()]).unwrap();
    guest.tell("fd_datasync", &[dir.into()]).unwrap();
    // And a file is no directory.
    guest.file(ROOT, "file", b"");
    let file = guest.open(ROOT, "file", 0, FILE).unwrap();
    assert_eq!(guest.readdir(file, 100, 0), Err(Errno::Badf));
    assert_eq!(guest.mkdir(file, "x"), Err(Errno::Badf));
    assert_eq!(guest.readdir(0, 100, 0), Err(Errno::Badf));
}

#[test]
fn sizes_and_advice() {
    let mut guest = Guest::new();
    let file = guest.open(ROOT, "file", CREAT, FILE).unwrap();
    let set_size = |guest: &mut Guest, size| guest.tell("fd_filestat_set_size", &[file.into(), size]);
    set_size(&mut guest, 100).unwrap();
    assert_eq!(guest.fstat(file).unwrap().size, 100);
    assert_eq!(guest.read(file, 200).unwrap(), [0; 100]);
    set_size(&mut guest, 10).unwrap();
    assert_eq!(guest.fstat(file).unwrap().size, 10);
    assert_eq!(set_size(&mut guest, 1 << 63), Err(Errno::Inval));
    assert_eq!(guest.tell("fd_filestat_set_size", &[0, 0]), Err(Errno::Badf));

    for advice in 0..6 {
        guest.tell("fd_advise", &[file.into(), 10, 50, advice]).unwrap();
    }
    assert_eq!(guest.tell("fd_advise", &[file.into(), 0, 0, 6]), Err(Errno::Inval));
    assert_eq!(guest.tell("fd_advise", &[file.into(), u64::MAX, 1, 0]), Err(Errno::Inval));
    assert_eq!(guest.tell("fd_advise", &[0, 0, 0, 0]), Err(Errno::Badf));
    assert_eq!(guest.tell("fd_allocate", &[file.into(), 0, 100]), Err(Errno::Notsup));
    assert_eq!(guest.tell("fd_allocate", &[1, 0, 100]), Err(Errno::Badf));
    assert_eq!(guest.fstat(file).unwrap().size, 10);
    for name in ["fd_sync", "fd_datasync"] {
        guest.tell(name, &[file.into()]).unwrap();
        assert_eq!(guest.tell(name, &[1]), Err(Errno::Badf));
        assert_eq!(guest.tell(name, &[999]), Err(Errno::Badf));
    }
}

#[test]
fn times_are_set_as_asked() {
    const ATIM: u32 = 1;
    const ATIM_NOW: u32 = 2;
    const MTIM: u32 = 4;
    const MTIM_NOW: u32 = 8;
    let mut guest = Guest::new();
    let file = guest.open(ROOT, "file", CREAT, FILE).unwrap();
    let made = guest.fstat(file).unwrap();
    assert_eq!((made.accessed, made.modified, made.changed), (NOW, NOW, NOW));
    guest.world.clock.advance(5);
    let set = |guest: &mut Guest, flags: u32| {
        guest.tell("fd_filestat_set_times", &[file.into(), 11, 22, flags.into()])
    };
    set(&mut guest, MTIM).unwrap();
    let stat = guest.fstat(file).unwrap();
    assert_eq!((stat.accessed, stat.modified, stat.changed), (NOW, 22, NOW + 5));
    set(&mut guest, ATIM | MTIM_NOW).unwrap();
    let stat = guest.fstat(file).unwrap();
    assert_eq!((stat.accessed, stat.modified), (11, NOW + 5));
    set(&mut guest, ATIM_NOW).unwrap();
    assert_eq!(guest.fstat(file).unwrap().accessed, NOW + 5);
    let before = guest.fstat(file).unwrap();
    for flags in [ATIM | ATIM_NOW, MTIM | MTIM_NOW, 15, 16] {
        assert_eq!(set(&mut guest, flags), Err(Errno::Inval));
        assert_eq!(guest.set_times(ROOT, 0, "file", (1, 2), flags), Err(Errno::Inval));
    }
    assert_eq!(guest.fstat(file).unwrap(), before);
    assert_eq!(guest.tell("fd_filestat_set_times", &[1, 0, 0, 0]), Err(Errno::Badf));
    guest.tell("fd_filestat_set_times", &[ROOT.into(), 1, 2, (ATIM | MTIM).into()]).unwrap();
    assert_eq!(guest.fstat(ROOT).unwrap().modified, 2);

    // Of a link itself, or of what it leads to.
    guest.symlink("file", ROOT, "link").unwrap();
    guest.set_times(ROOT, 0, "link", (0, 33), MTIM).unwrap();
    assert_eq!(guest.stat(ROOT, 0, "link").unwrap().modified, 33);
    assert_eq!(guest.stat(ROOT, 0, "file").unwrap(), before);
    assert_eq!(guest.stat(ROOT, FOLLOW, "link").unwrap(), before);
    guest.set_times(ROOT, FOLLOW, "link", (0, 44), MTIM).unwrap();
    assert_eq!(guest.stat(ROOT, 0, "file").unwrap().modified, 44);
    assert_eq!(guest.set_times(ROOT, 0, "missing", (0, 0), 0), Err(Errno::Noent));
    assert_eq!(guest.set_times(ROOT, 2, "file", (0, 0), 0), Err(Errno::Inval));
}

#[test]
fn attributes_tell_nodes_apart() {
    let mut guest = Guest::new();
    guest.mkdir(ROOT, "dir").unwrap();
    guest.file(ROOT, "dir/a", b"a");
    guest.file(ROOT, "dir/b", b"bb");
    guest.symlink("dir/a", ROOT, "link").unwrap();
    let (a, b) = (guest.stat(ROOT, 0, "dir/a").unwrap(), guest.stat(ROOT, 0, "dir/b").unwrap());
    assert_eq!(a.device, b.device);
    assert_ne!(a.inode, b.inode);
    assert_eq!((a.kind, a.size, a.links), (4, 1, 1));
    assert_eq!(guest.stat(ROOT, 0, "dir").unwrap().kind, 3);
    let link = guest.stat(ROOT, 0, "link").unwrap();
    assert_eq!((link.kind, link.size), (7, 5));
    assert_eq!(guest.stat(ROOT, FOLLOW, "link").unwrap(), a);
    assert_eq!(guest.stat(ROOT, 0, "missing"), Err(Errno::Noent));
    assert_eq!(guest.stat(ROOT, 0, "dir/a/"), Err(Errno::Notdir));
    assert_eq!(guest.stat(ROOT, 2, "dir"), Err(Errno::Inval));
    assert_eq!(guest.fstat(999), Err(Errno::Badf));
    assert_ne!(guest.fstat(READ_ONLY).unwrap().device, a.device);
}

#[test]
fn directories_are_made_and_removed() {
    let mut guest = Guest::new();
    guest.mkdir(ROOT, "dir").unwrap();
    guest.mkdir(ROOT, "dir/nested//").unwrap();
    assert_eq!(guest.mkdir(ROOT, "dir"), Err(Errno::Exist));
    assert_eq!(guest.mkdir(ROOT, "dir/"), Err(Errno::Exist));
    assert_eq!(guest.mkdir(ROOT, "."), Err(Errno::Exist));
    assert_eq!(guest.mkdir(ROOT, ""), Err(Errno::Noent));
    assert_eq!(guest.mkdir(ROOT, "missing/dir"), Err(Errno::Noent));
    assert_eq!(guest.mkdir(ROOT, &"n".repeat(256)), Err(Errno::Nametoolong));
    assert_eq!(guest.rmdir(ROOT, "dir"), Err(Errno::Notempty));
    guest.file(ROOT, "file", b"");
    assert_eq!(guest.mkdir(ROOT, "file"), Err(Errno::Exist));
    assert_eq!(guest.mkdir(ROOT, "file/x"), Err(Errno::Notdir));
    assert_eq!(guest.rmdir(ROOT, "file"), Err(Errno::Notdir));
    assert_eq!(guest.rmdir(ROOT, "file/"), Err(Errno::Notdir));
    assert_eq!(guest.rmdir(ROOT, "missing"), Err(Errno::Noent));
    assert_eq!(guest.rmdir(ROOT, "."), Err(Errno::Inval));
    guest.symlink("dir", ROOT, "link").unwrap();
    assert_eq!(guest.rmdir(ROOT, "link"), Err(Errno::Notdir));
    assert_eq!(guest.rmdir(ROOT, "link/"), Err(Errno::Notdir));
    guest.rmdir(ROOT, "dir/nested/").unwrap();
    guest.rmdir(ROOT, "dir").unwrap();
    assert_eq!(guest.stat(ROOT, 0, "dir"), Err(Errno::Noent));
}

#[test]
fn files_are_unlinked_and_live_on_while_open() {
    let mut guest = Guest::new();
    guest.mkdir(ROOT, "dir").unwrap();
    assert_eq!(guest.unlink(ROOT, "dir"), Err(Errno::Isdir));
    assert_eq!(guest.unlink(ROOT, "dir/"), Err(Errno::Isdir));
    assert_eq!(guest.unlink(ROOT, "."), Err(Errno::Isdir));
    guest.file(ROOT, "file", b"still here");
    assert_eq!(guest.unlink(ROOT, "file/"), Err(Errno::Notdir));
    assert_eq!(guest.unlink(ROOT, "missing"), Err(Errno::Noent));
    let file = guest.open(ROOT, "file", 0, FILE).unwrap();
    guest.unlink(ROOT, "file").unwrap();
    assert_eq!(guest.open(ROOT, "file", 0, 0), Err(Errno::Noent));
    assert_eq!(guest.read(file, 100).unwrap(), b"still here");
    assert_eq!(guest.fstat(file).unwrap().links, 0);
    guest.file(ROOT, "file", b"another");
    assert_eq!(guest.pread(file, 100, 0).unwrap(), b"still here");
    guest.close(file).unwrap();

    // A directory that is open while it goes.
    let dir = guest.dir(ROOT, "dir").unwrap();
    guest.rmdir(ROOT, "dir").unwrap();
    assert_eq!(guest.open(dir, "x", CREAT, 0), Err(Errno::Noent));
    assert!(guest.readdir(dir, 200, 0).is_ok());
    guest.mkdir(ROOT, "dir").unwrap();
}

#[test]
fn hard_links_are_the_same_file() {
    let mut guest = Guest::new();
    guest.file(ROOT, "file", b"x");
    guest.mkdir(ROOT, "dir").unwrap();
    let dir = guest.dir(ROOT, "dir").unwrap();
    guest.link(ROOT, 0, "file", ROOT, "link").unwrap();
    guest.link(ROOT, 0, "file", dir, "link").unwrap();
    let stat = guest.stat(ROOT, 0, "file").unwrap();
    assert_eq!(stat.links, 3);
    assert_eq!(guest.stat(ROOT, 0, "link").unwrap(), stat);
    assert_eq!(guest.stat(dir, 0, "link").unwrap(), stat);
    assert_eq!(guest.link(ROOT, 0, "file", ROOT, "file"), Err(Errno::Exist));
    assert_eq!(guest.link(ROOT, 0, "file", ROOT, "dir"), Err(Errno::Exist));
    assert_eq!(guest.link(ROOT, 0, "dir", ROOT, "dir_2"), Err(Errno::Perm));
    assert_eq!(guest.link(ROOT, 0, ".", ROOT, "dir_2"), Err(Errno::Perm));
    assert_eq!(guest.link(ROOT, 0, "file", ROOT, "new/"), Err(Errno::Noent));
    assert_eq!(guest.link(ROOT, 0, "file/", ROOT, "new"), Err(Errno::Notdir));
    assert_eq!(guest.link(ROOT, 0, "missing", ROOT, "new"), Err(Errno::Noent));
    assert_eq!(guest.link(ROOT, 2, "file", ROOT, "new"), Err(Errno::Inval));
    assert_eq!(guest.link(ROOT, 0, "file", SMALL, "new"), Err(Errno::Xdev));
    // A link, not what it leads to; and nothing else is on offer.
    guest.symlink("nowhere", ROOT, "symlink").unwrap();
    assert_eq!(guest.link(ROOT, FOLLOW, "symlink", ROOT, "new"), Err(Errno::Inval));
    assert_eq!(guest.link(ROOT, 0, "file", ROOT, "symlink"), Err(Errno::Exist));
    guest.link(ROOT, 0, "symlink", ROOT, "new").unwrap();
    assert_eq!(guest.readlink(ROOT, "new", 100).unwrap(), b"nowhere");
}

#[test]
fn symbolic_links_are_made_and_read() {
    let mut guest = Guest::new();
    guest.symlink("target", ROOT, "link").unwrap();
    guest.put(BUFFER, b"..........");
    assert_eq!(guest.readlink(ROOT, "link", 10).unwrap(), b"target");
    assert_eq!(guest.bytes(BUFFER, 10), b"target....");
    assert_eq!(guest.readlink(ROOT, "link", 4).unwrap(), b"targ");
    assert_eq!(guest.readlink(ROOT, "link", 0).unwrap(), b"");
    assert_eq!(guest.readlink(ROOT, "missing", 10), Err(Errno::Noent));
    guest.file(ROOT, "target", b"");
    assert_eq!(guest.readlink(ROOT, "target", 10), Err(Errno::Inval));
    assert_eq!(guest.readlink(ROOT, ".", 10), Err(Errno::Inval));
    guest.mkdir(ROOT, "dir").unwrap();
    assert_eq!(guest.symlink("x", ROOT, "dir"), Err(Errno::Exist));
    assert_eq!(guest.symlink("x", ROOT, "dir/"), Err(Errno::Exist));
    assert_eq!(guest.symlink("x", ROOT, "target"), Err(Errno::Exist));
    assert_eq!(guest.symlink("x", ROOT, "target/"), Err(Errno::Notdir));
    assert_eq!(guest.symlink("x", ROOT, "new/"), Err(Errno::Noent));
    assert_eq!(guest.symlink("", ROOT, "new"), Err(Errno::Noent));
    assert_eq!(guest.symlink("a\0b", ROOT, "new"), Err(Errno::Inval));
    assert_eq!(guest.symlink(&"x".repeat(4097), ROOT, "new"), Err(Errno::Nametoolong));
    guest.unlink(ROOT, "link").unwrap();
    assert_eq!(guest.stat(ROOT, 0, "target").unwrap().kind, 4, "the link went, not the file");
}

#[test]
fn renaming_replaces_what_can_be_replaced() {
    let mut guest = Guest::new();
    guest.mkdir(ROOT, "source").unwrap();
    guest.rename(ROOT, "source", ROOT, "target").unwrap();
    assert_eq!(guest.open(ROOT, "source", DIRECTORY, 0), Err(Errno::Noent));
    guest.open(ROOT, "target", DIRECTORY, 0).unwrap();
    guest.mkdir(ROOT, "source").unwrap();
    guest.rename(ROOT, "source", ROOT, "target").unwrap();
    guest.mkdir(ROOT, "source").unwrap();
    guest.file(ROOT, "target/file", b"");
    assert_eq!(guest.rename(ROOT, "source", ROOT, "target"), Err(Errno::Notempty));
    assert_eq!(guest.rename(ROOT, "source", ROOT, "target/file"), Err(Errno::Notdir));
    assert_eq!(guest.rename(ROOT, "target", ROOT, "target/below"), Err(Errno::Inval));
    assert_eq!(guest.rename(ROOT, ".", ROOT, "x"), Err(Errno::Busy));
    assert_eq!(guest.rename(ROOT, "missing", ROOT, "x"), Err(Errno::Noent));

    guest.file(ROOT, "a", b"a");
    guest.file(ROOT, "b", b"b");
    assert_eq!(guest.rename(ROOT, "a", ROOT, "source"), Err(Errno::Isdir));
    assert_eq!(guest.rename(ROOT, "a", ROOT, "c/"), Err(Errno::Notdir));
    assert_eq!(guest.rename(ROOT, "a/", ROOT, "c"), Err(Errno::Notdir));
    assert_eq!(guest.rename(ROOT, "a", SMALL, "c"), Err(Errno::Xdev));
    guest.rename(ROOT, "a", ROOT, "b").unwrap();
    assert_eq!(guest.stat(ROOT, 0, "a"), Err(Errno::Noent));
    let b = guest.open(ROOT, "b", 0, FILE).unwrap();
    assert_eq!(guest.read(b, 10).unwrap(), b"a");

    // A `/` at the end is fine for a directory, and never follows a link.
    for (old, new) in [("source/", "s"), ("s", "source/"), ("source/", "s/"), ("s", "source")] {
        guest.rename(ROOT, old, ROOT, new).unwrap_or_else(|errno| panic!("{old} to {new}: {errno}"));
    }
    guest.symlink("source", ROOT, "link").unwrap();
    assert_eq!(guest.rename(ROOT, "link/", ROOT, "x"), Err(Errno::Notdir));
    guest.rename(ROOT, "link", ROOT, "x").unwrap();
    assert_eq!(guest.readlink(ROOT, "x", 100).unwrap(), b"source");
}

#[test]
fn a_directory_is_read_piece_by_piece() {
    let mut guest = Guest::new();
    guest.mkdir(ROOT, "dir").unwrap();
    let dir = guest.dir(ROOT, "dir").unwrap();
    let inode = guest.fstat(dir).unwrap().inode;
    let (entries, full) = guest.readdir(dir, 256, 0).unwrap();
    assert!(!full);
    let names: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.inode)).collect();
    assert_eq!(names, [(".", 3, inode), ("..", 3, inode)]);

    guest.file(dir, "file", b"");
    let file = guest.stat(dir, 0, "file").unwrap().inode;
    let (entries, _) = guest.readdir(dir, 256, 0).unwrap();
    assert_eq!((&*entries[2].name, entries[2].kind, entries[2].inode), ("file", 4, file));
    let (rest, full) = guest.readdir(dir, 256, entries[1].next).unwrap();
    assert_eq!((rest, full), (vec![entries[2].clone()], false));
    assert_eq!(guest.readdir(dir, 256, entries[2].next).unwrap(), (vec![], false));
    assert_eq!(guest.readdir(dir, 256, u64::MAX).unwrap(), (vec![], false));
    assert_eq!(guest.readdir(dir, 0, 0).unwrap(), (vec![], true));

    // An entry that does not fit is cut off, and the buffer is full.
    guest.put(BUFFER, &[b'#'; 64]);
    assert_eq!(guest.readdir(dir, 30, 0).unwrap(), (vec![entries[0].clone()], true));
    assert_eq!(guest.bytes(BUFFER + 25, 5), &entries[1].next.to_le_bytes()[..5]);
    assert_eq!(guest.bytes(BUFFER + 30, 4), b"####");

    for n in 0..1000 {
        guest.open(dir, &format!("file.{n}"), CREAT, 0).and_then(|fd| guest.close(fd)).unwrap();
    }
    let (mut cookie, mut names) = (0, std::collections::BTreeSet::new());
    loop {
        let (entries, full) = guest.readdir(dir, 256, cookie).unwrap();
        for entry in &entries {
            assert!(names.insert(entry.name.clone()), "{} is there twice", entry.name);
            // What is removed in between does not disturb the rest.
            if entry.name.starts_with("file.") {
                guest.unlink(dir, &entry.name).unwrap();
            }
        }
        if !full {
            break;
        }
        cookie = entries.last().unwrap().next;
    }
    assert_eq!(names.len(), 1003);
    assert_eq!(guest.readdir(dir, 256, 0).unwrap().0.len(), 3);
}

#[test]
fn deep_trees_and_long_ways_are_fine() {
    let mut guest = Guest::new();
    let mut fd = ROOT;
    for _ in 0..500 {
        guest.mkdir(fd, "d").unwrap();
        let next = guest.dir(fd, "d").unwrap();
        if fd != ROOT {
            guest.close(fd).unwrap();
        }
        fd = next;
    }
    guest.file(fd, "bottom", b"deep");
    let path = format!("{}bottom", "d/".repeat(500));
    assert_eq!(guest.stat(ROOT, 0, &path).unwrap().size, 4);
    let there_and_back = format!("{}{}", "d/".repeat(400), "../".repeat(401));
    assert_eq!(guest.stat(ROOT, 0, &there_and_back), Err(Errno::Perm));
}

#[test]
fn descriptors_let_go_of_their_nodes() {
    let mut guest = Guest::new();
    let before = room(&mut guest);
    let a = guest.open(SMALL, "a", CREAT, FILE).unwrap();
    let b = guest.open(SMALL, "b", CREAT, FILE).unwrap();
    guest.write(a, &[1; 10_000]).unwrap();
    guest.write(b, &[1; 10_000]).unwrap();
    guest.unlink(SMALL, "a").unwrap();
    guest.unlink(SMALL, "b").unwrap();
    assert!(room(&mut guest) < before, "open files keep their bytes");
    guest.close(a).unwrap();
    guest.tell("fd_renumber", &[0, b.into()]).unwrap();
    assert_eq!(room(&mut guest), before);
}

/// How many bytes a file in the small mount can have now.
fn room(guest: &mut Guest) -> u64 {
    let file = guest.open(SMALL, "probe", CREAT | EXCL, FILE).unwrap();
    let mut total = 0;
    while let Ok(n) = guest.write(file, &[0xff; 4096]) {
        total += u64::from(n);
    }
    guest.close(file).unwrap();
    guest.unlink(SMALL, "probe").unwrap();
    total
}
