//! Reads the files that came with it, writes others, and shows that each place keeps its rules.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

fn main() -> io::Result<()> {
    reading()?;
    writing()?;
    renaming()?;
    limits();
    Ok(())
}

/// The bundle's files are at `/`.
fn reading() -> io::Result<()> {
    println!("data: {}", names(Path::new("/data"))?);
    let poem = BufReader::new(File::open("/data/poems/moon.txt")?);
    for (n, line) in poem.lines().enumerate() {
        let line = line?;
        println!("{:>2} {:>3} {}", n + 1, line.len(), line);
    }
    let mut file = File::open("/data/numbers.txt")?;
    file.seek(SeekFrom::End(-6))?;
    let mut last = String::new();
    file.read_to_string(&mut last)?;
    println!("the last line of {} bytes: {last:?}", file.metadata()?.len());
    Ok(())
}

/// `/tmp` is always there; `/work` because lunette.toml grants it.
fn writing() -> io::Result<()> {
    fs::create_dir_all("/tmp/a/b/c")?;
    fs::write("/tmp/a/one.txt", "first\n")?;
    let mut file = OpenOptions::new().append(true).open("/tmp/a/one.txt")?;
    writeln!(file, "second")?;
    drop(file);
    fs::copy("/tmp/a/one.txt", "/work/copy.txt")?;
    println!("copied: {:?}", fs::read_to_string("/work/copy.txt")?);

    let mut file = OpenOptions::new().read(true).write(true).open("/work/copy.txt")?;
    file.set_len(3)?;
    file.seek(SeekFrom::Start(5))?;
    file.write_all(b"!")?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    println!("cut and written past the end: {bytes:?}");
    Ok(())
}

fn renaming() -> io::Result<()> {
    fs::rename("/tmp/a/one.txt", "/tmp/a/b/two.txt")?;
    fs::hard_link("/tmp/a/b/two.txt", "/tmp/a/b/three.txt")?;
    println!("a: {}", names(Path::new("/tmp/a"))?);
    println!("a/b: {}", names(Path::new("/tmp/a/b"))?);
    fs::remove_file("/tmp/a/b/two.txt")?;
    println!("the other name still reads {:?}", fs::read_to_string("/tmp/a/b/three.txt")?);
    fs::remove_dir_all("/tmp/a")?;
    println!("gone: {}", !fs::exists("/tmp/a")?);
    Ok(())
}

/// What is not allowed is said, and the program goes on.
fn limits() {
    show("writing to the bundle", fs::write("/data/new.txt", "x").map(drop));
    show("removing from the bundle", fs::remove_file("/data/numbers.txt"));
    show("leaving by dots", fs::read("/data/../../../../etc/passwd").map(drop));
    show("moving between places", fs::rename("/work/copy.txt", "/tmp/copy.txt"));
    show("removing a full folder", fs::create_dir_all("/tmp/x/y").and_then(|()| fs::remove_dir("/tmp/x")));
    show("two MiB where one fits", fs::write("/work/big", vec![7; 2 << 20]));
}

fn show(what: &str, done: io::Result<()>) {
    match done {
        Ok(()) => println!("{what}: done"),
        Err(error) => println!("{what}: {}", words(&error)),
    }
}

/// By WASI's error numbers: std has no name for most of them.
fn words(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(44) => "not there",
        Some(51) => "no space left",
        Some(55) => "not empty",
        Some(63 | 69 | 76) => "not allowed",
        Some(75) => "another file system",
        _ => "another error",
    }
}

fn names(dir: &Path) -> io::Result<String> {
    let mut names = fs::read_dir(dir)?
        .map(|entry| {
            let entry = entry?;
            let slash = if entry.file_type()?.is_dir() { "/" } else { "" };
            Ok(format!("{}{slash}", entry.file_name().to_string_lossy()))
        })
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.join(" "))
}
