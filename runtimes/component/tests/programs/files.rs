//! Files and directories by std.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
};

// Of wasi-libc: std has no word for it there, and for a stream that failed none but EIO.
const EIO: i32 = 29;
const ENOTEMPTY: i32 = 55;

fn main() {
    assert_eq!(fs::read_to_string("/etc/motd").unwrap(), "hello");
    // What is not granted, or read-only, is told.
    assert!(fs::write("/etc/motd", "no").is_err());
    assert_eq!(fs::read("/etc/none").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(fs::read("/../outside").is_err() || !fs::exists("/outside").unwrap());

    fs::create_dir_all("/tmp/a/b").unwrap();
    fs::write("/tmp/a/b/file", "0123456789").unwrap();
    let mut file = OpenOptions::new().read(true).write(true).open("/tmp/a/b/file").unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    file.write_all(b"xx").unwrap();
    file.seek(SeekFrom::End(-2)).unwrap();
    let mut end = String::new();
    file.read_to_string(&mut end).unwrap();
    assert_eq!(end, "89");
    assert_eq!(fs::read_to_string("/tmp/a/b/file").unwrap(), "0123xx6789");
    file.set_len(3).unwrap();
    assert_eq!(fs::metadata("/tmp/a/b/file").unwrap().len(), 3);
    OpenOptions::new().append(true).open("/tmp/a/b/file").unwrap().write_all(b"end").unwrap();
    assert_eq!(fs::read_to_string("/tmp/a/b/file").unwrap(), "012end");

    fs::hard_link("/tmp/a/b/file", "/tmp/a/second").unwrap();
    fs::rename("/tmp/a/second", "/tmp/a/third").unwrap();
    let mut names: Vec<_> = fs::read_dir("/tmp/a")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["b", "third"]);
    assert_eq!(fs::remove_dir("/tmp/a").unwrap_err().raw_os_error(), Some(ENOTEMPTY));
    fs::remove_dir_all("/tmp/a").unwrap();

    let big = vec![7; 300_000];
    fs::write("/tmp/big", &big).unwrap();
    assert_eq!(fs::read("/tmp/big").unwrap(), big);
    let mut full = File::create("/tmp/full").unwrap();
    let filled = (0..100).try_for_each(|_| full.write_all(&[0; 1 << 20]));
    assert_eq!(filled.unwrap_err().raw_os_error(), Some(EIO));
    println!("files are fine");
}
