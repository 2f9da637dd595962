//! `cargo xtask dist`: a release, in `target/dist/`: images, command line, bills of materials, sums, and the signed index of all that.
//!
//! | file | what |
//! |---|---|
//! | `lunette-V-x86_64-NAME.elf` | an image: full, wasm, lua, native |
//! | `lunette-V-x86_64-loader.bios`, `….efi` | the loaders for disks |
//! | `lunette-V-x86_64-linux.tar.gz` | the command line with all images beside it: unpack and run |
//! | `lunette-V-x86_64-image.cdx.json`, `…-cli.cdx.json` | what they are made of (CycloneDX) |
//! | `stream-NAME.json`, `….minisig` | the index: each file's size and SHA-256 |
//! | `SHA256SUMS` | the same, for `sha256sum -c` |
//!
//! Promises: the same commit and tool-chain give the same images, in whatever folder (`cargo xtask test reproduce` tries it). Does
//! not: publish anything, or keep keys.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    image, loaders,
    sh::{Result, cargo, command, read, root, run, target},
};

/// How long an index is good for.
const DAYS: &str = "180";

struct Wanted {
    key: Option<PathBuf>,
    cli: Option<PathBuf>,
    /// `lunette-index`, if it is built already.
    index: Option<PathBuf>,
    images: Vec<&'static image::Variant>,
    stream: String,
    output: PathBuf,
}

pub(crate) fn dist(words: &[String]) -> Result<()> {
    let wanted = asked(words)?;
    let Some(key) = &wanted.key else {
        return Err("a release is signed: name the secret key with --key FILE (`lunette sign --new-key FILE` makes one)".into());
    };
    let dist = make(&wanted, key)?;
    println!("{}", dist.display());
    Ok(())
}

fn asked(words: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted {
        key: None,
        cli: None,
        index: None,
        images: image::VARIANTS.iter().collect(),
        stream: "stable".into(),
        output: target().join("dist"),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word}: it takes a value"))?;
        match word.as_str() {
            "--key" => wanted.key = Some(std::path::absolute(value)?),
            "--cli" => wanted.cli = Some(std::path::absolute(value)?),
            "--index" => wanted.index = Some(std::path::absolute(value)?),
            "--output" => wanted.output = std::path::absolute(value)?,
            "--stream" => wanted.stream = value.clone(),
            "--variant" => wanted.images = image::asked(&[word.clone(), value.clone()])?,
            _ => {
                return Err(format!(
                    "no flag {word}: there are --key, --cli, --index, --variant, --stream, --output"
                )
                .into());
            }
        }
    }
    Ok(wanted)
}

/// The release; where it is.
fn make(wanted: &Wanted, key: &Path) -> Result<PathBuf> {
    let version = version()?;
    let name = |end: &str| format!("lunette-{version}-x86_64{end}");
    let public = fs::read_to_string(key.with_extension("pub"))
        .or_else(|_| fs::read_to_string(format!("{}.pub", key.display())))
        .map_err(|e| format!("{}.pub: {e}", key.display()))?;
    let public = public.lines().last().unwrap_or_default().trim().to_owned();
    let dist = &wanted.output;
    if dist.exists() {
        fs::remove_dir_all(dist).map_err(|e| format!("{}: {e}", dist.display()))?;
    }
    fs::create_dir_all(dist)?;
    let mut installed = Vec::new();
    for variant in &wanted.images {
        let built = image::build(variant)?;
        println!("{built}");
        fs::copy(&built.path, dist.join(name(&format!("-{}.elf", variant.name))))?;
        installed.push(built.path);
    }
    for loader in loaders::build()? {
        let end = loader.path.extension().unwrap_or_default().to_string_lossy().into_owned();
        fs::copy(&loader.path, dist.join(name(&format!("-loader.{end}"))))?;
        installed.push(loader.path);
    }
    let cli = match &wanted.cli {
        Some(cli) => cli.clone(),
        None => {
            // Whom it trusts to make the next release.
            run(cargo(&["build", "--release", "-p", "lunette"]).env("LUNETTE_RELEASE_KEYS", &public))?;
            target().join("release/lunette")
        }
    };
    archive(&cli, &installed, &version, &dist.join(name("-linux.tar.gz")))?;
    let index = wanted.index.clone().map_or_else(index_maker, Ok)?;
    for (package, end) in [("lunette-image", "-image.cdx.json"), ("lunette", "-cli.cdx.json")] {
        let metadata = cargo(&[
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform=x86_64-unknown-linux-musl",
        ])
        .stdout(Stdio::piped())
        .spawn()?;
        let lock = root().join("Cargo.lock");
        let mut sbom = command(&index, &["sbom", package]);
        sbom.arg(lock).stdin(metadata.stdout.ok_or("cargo metadata says nothing")?);
        let output = sbom.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("the bill of materials of {package}: {}", output.status).into());
        }
        fs::write(dist.join(name(end)), output.stdout)?;
    }
    // Both grow with the history, and are the same wherever this commit is built.
    let of_head = |words: &[&str]| read(&mut command("git", words)).map(|text| text.trim().to_owned());
    let (serial, seconds) =
        (of_head(&["rev-list", "--count", "HEAD"])?, of_head(&["log", "-1", "--format=%ct"])?);
    let words = ["index", &dist.to_string_lossy(), &wanted.stream, &version, &serial, &seconds, DAYS];
    run(&mut command(&index, &words))?;
    sums(dist)?;
    let stream = dist.join(format!("stream-{}.json", wanted.stream));
    let mut sign = command(&cli, &["sign", "--key"]);
    run(sign.arg(key).arg(stream).arg(dist.join("SHA256SUMS")).env("SOURCE_DATE_EPOCH", &seconds))?;
    Ok(dist.clone())
}

/// What a release is tried with: the smallest image, and a command line that is there.
fn smallest(cli: &Path, output: PathBuf) -> Wanted {
    Wanted {
        key: None,
        cli: Some(cli.to_owned()),
        index: None,
        images: vec![image::WASM],
        stream: "stable".into(),
        output,
    }
}

/// Builds what writes indices and bills of materials.
fn index_maker() -> Result<PathBuf> {
    run(&mut cargo(&["build", "-q", "-p", "lunette-releases", "--bin", "lunette-index"]))?;
    Ok(target().join("debug/lunette-index"))
}

/// Of the workspace.
fn version() -> Result<String> {
    let text = fs::read_to_string(root().join("Cargo.toml"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("version = "));
    line.map(|version| version.trim_matches('"').to_owned()).ok_or_else(|| "Cargo.toml has no version".into())
}

/// The command line as `bin/lunette`, the images in `share/lunette`: where it looks for them.
pub(crate) fn archive(cli: &Path, images: &[PathBuf], version: &str, to: &Path) -> Result<()> {
    let name = format!("lunette-{version}");
    let stage = target().join("dist-stage");
    let top = stage.join(&name);
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    for folder in ["bin", "share/lunette"] {
        fs::create_dir_all(top.join(folder))?;
    }
    let copy = |from: &Path, to: &str| {
        fs::copy(from, top.join(to)).map(drop).map_err(|e| format!("{}: {e}", from.display()))
    };
    copy(cli, "bin/lunette")?;
    // A command line that was built for tests is ten times as large with what is for debuggers.
    let _ = command("strip", &["--strip-debug"]).arg(top.join("bin/lunette")).status();
    for image in images {
        copy(image, &format!("share/lunette/{}", image.file_name().unwrap_or_default().to_string_lossy()))?;
    }
    for text in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        copy(&root().join(text), text)?;
    }
    let mut tar = command("tar", &["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
    // gzip's own header has a time, too.
    tar.args(["--mode=u+rw,go=rX,a-s", "-I", "gzip -9n", "-cf"]).arg(to).arg("-C").arg(&stage).arg(&name);
    run(&mut tar)?;
    fs::remove_dir_all(&stage)?;
    Ok(())
}

/// SHA256SUMS, as coreutils write it.
fn sums(dist: &Path) -> Result<()> {
    let mut names: Vec<_> = fs::read_dir(dist)?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let text = read(command("sha256sum", &["--"]).args(names).current_dir(dist))?;
    fs::write(dist.join("SHA256SUMS"), text)?;
    Ok(())
}

/// A release by a key for this once, and a machine that has nothing but its archive and QEMU: does an app run there?
pub(crate) fn try_it(cli: &Path, app: &Path, expected: &Path) -> Result<String> {
    let folder = target().join("dist-test");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("path"))?;
    let at = |name: &str| folder.join(name);
    run(command(cli, &["sign", "--new-key"]).arg(at("key")).stdout(Stdio::null()))?;
    let release = make(&smallest(cli, at("release")), &at("key"))?;
    run(command("sha256sum", &["-c", "--quiet", "SHA256SUMS"]).current_dir(&release))?;

    let archive = format!("lunette-{}-x86_64-linux.tar.gz", version()?);
    run(command("tar", &["-xf"]).arg(release.join(&archive)).arg("-C").arg(&folder))?;
    let qemu = crate::sh::which("qemu-system-x86_64").ok_or("no QEMU")?;
    std::os::unix::fs::symlink(qemu, at("path/qemu-system-x86_64"))?;
    let lunette = at(&format!("lunette-{}/bin/lunette", version()?));
    let alone = |words: &[&str]| {
        let mut command = command(&lunette, words);
        command.env_clear().env("PATH", at("path")).env("HOME", at("home")).current_dir(&folder);
        command
    };
    let said = read(alone(&["run", "--accel", "tcg"]).arg(app))?;
    if said != fs::read_to_string(expected)? {
        return Err(format!("from the archive, {} says {said:?}", app.display()).into());
    }
    let own = read(&mut alone(&["self"]))?;
    let public = fs::read_to_string(at("key.pub"))?;
    let from = release.to_string_lossy();
    let key = ["--key", public.lines().last().unwrap_or_default()];
    read(&mut alone(&[&["image", "pull", "--from", &from], &key[..]].concat()))?;
    let good = read(&mut alone(&[&["image", "verify"], &key[..]].concat()))?;
    if !good.contains("good: lunette-wasm.elf") || !own.contains("lunette-wasm.elf") {
        return Err(format!("{own}{good}").into());
    }
    let size = fs::metadata(release.join(&archive))?.len();
    Ok(format!("{archive}: {size} bytes; an app ran from it with QEMU alone"))
}

/// A release of the smallest image, from here and from a copy of the sources in another folder: is each file of it the same to the
/// bit? The command line in the archives is one and the same: building it twice would take longer than all else.
pub(crate) fn reproduce(cli: &Path) -> Result<String> {
    let folder = target().join("elsewhere");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let there = folder.join("a folder of another name");
    let files = read(&mut command("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    for file in files.split('\0').filter(|file| root().join(file).is_file()) {
        let to = there.join(file);
        fs::create_dir_all(to.parent().unwrap_or(&there))?;
        fs::copy(root().join(file), to)?;
    }
    let key = folder.join("key");
    run(command(cli, &["sign", "--new-key"]).arg(&key).stdout(Stdio::null()))?;
    let one = make(&smallest(cli, folder.join("here")), &key)?;
    let other = folder.join("there");
    let mut again = cargo(&["run", "-q", "-p", "xtask", "--", "dist", "--variant", image::WASM.name]);
    again.arg("--key").arg(&key).arg("--cli").arg(cli).arg("--output").arg(&other);
    again.arg("--index").arg(index_maker()?);
    run(again
        .current_dir(&there)
        .env("CARGO_TARGET_DIR", there.join("target"))
        .env_remove("CARGO_MANIFEST_DIR")
        .stdout(Stdio::null()))?;
    let names = |dir: &Path| -> Result<Vec<_>> {
        let names = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name()));
        let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    let (all, bytes) = (names(&one)?, |dir: &Path, name: &std::ffi::OsStr| fs::read(dir.join(name)));
    if all != names(&other)? {
        return Err(format!("two folders make {all:?} and {:?}", names(&other)?).into());
    }
    let mut size = 0;
    // There is chance in each signature; of what is signed there is none.
    let signed = all.iter().filter(|name| !name.to_string_lossy().ends_with(".minisig"));
    for name in signed {
        let (one, other) = (bytes(&one, name)?, bytes(&other, name)?);
        size += one.len();
        let differs = one.iter().zip(&other).position(|(a, b)| a != b);
        if one != other {
            return Err(format!(
                "{} differs between two folders: {} and {} bytes, from byte {} on",
                name.display(),
                one.len(),
                other.len(),
                differs.unwrap_or(one.len().min(other.len()))
            )
            .into());
        }
    }
    fs::remove_dir_all(folder)?;
    Ok(format!(
        "image, loaders, archive, bills of materials, sums and index: {size} bytes, the same from two folders"
    ))
}
