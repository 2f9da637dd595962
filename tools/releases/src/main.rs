//! `lunette-index`: what `cargo xtask dist` asks of us, for it knows no JSON: the index of a folder of releases, and the bill of
//! materials of a crate.
#![forbid(unsafe_code)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    process::ExitCode,
};

use lunette_releases::{Architecture, Artifact, File, Index, SCHEMA, index_name};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const USAGE: &str = "\
lunette-index index DIR STREAM VERSION SERIAL SECONDS DAYS   write stream-STREAM.json for the files of DIR
lunette-index sbom CRATE LOCK <METADATA                      print the CycloneDX bill of materials of CRATE";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match *words {
        ["index", dir, stream, version, serial, seconds, days] => {
            index(Path::new(dir), stream, version, [serial, seconds, days])
        }
        ["sbom", name, lock] => sbom(name, Path::new(lock)),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What a file of a release is, by the end of its name: the artifact, the format, the part, and what it is called where it is
/// installed.
const KINDS: &[(&str, [&str; 3], Option<&str>)] = &[
    ("-full.elf", ["full", "elf", "kernel"], Some("lunette.elf")),
    ("-wasm.elf", ["wasm", "elf", "kernel"], Some("lunette-wasm.elf")),
    ("-lua.elf", ["lua", "elf", "kernel"], Some("lunette-lua.elf")),
    ("-native.elf", ["native", "elf", "kernel"], Some("lunette-native.elf")),
    ("-loader.bios", ["loaders", "bios", "loader"], Some("lunette.bios")),
    ("-loader.efi", ["loaders", "efi", "loader"], Some("lunette.efi")),
    ("-linux.tar.gz", ["cli", "tar.gz", "archive"], None),
    ("-image.cdx.json", ["sbom", "cyclonedx", "image"], None),
    ("-cli.cdx.json", ["sbom", "cyclonedx", "cli"], None),
];

fn index(dir: &Path, stream: &str, version: &str, numbers: [&str; 3]) -> Result<()> {
    let [serial, seconds, days] = numbers.map(str::parse::<u64>);
    let mut artifacts: BTreeMap<String, Artifact> = BTreeMap::new();
    let begin = format!("lunette-{version}-x86_64");
    let mut names: Vec<_> =
        fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for name in names.iter().filter_map(|name| name.to_str()) {
        let kind = name.strip_prefix(&begin).and_then(|end| KINDS.iter().find(|(kind, ..)| *kind == end));
        let Some((_, [artifact, format, part], install)) = kind else { continue };
        let bytes = fs::read(dir.join(name))?;
        let artifact = artifacts
            .entry((*artifact).to_owned())
            .or_insert_with(|| Artifact { release: version.into(), ..Artifact::default() });
        artifact.runtimes = runtimes(&bytes);
        let file = File {
            location: name.into(),
            size: bytes.len() as u64,
            sha256: hex(&Sha256::digest(&bytes)),
            install: install.map(str::to_owned),
        };
        artifact.formats.entry((*format).to_owned()).or_default().insert((*part).to_owned(), file);
    }
    if artifacts.is_empty() {
        return Err(format!("{}: no files of release {version}", dir.display()).into());
    }
    let index = Index {
        schema: SCHEMA,
        stream: stream.into(),
        version: version.into(),
        serial: serial?,
        expires: Index::expiry_after(seconds?, days?),
        min_cli: version.into(),
        architectures: BTreeMap::from([("x86_64".to_owned(), Architecture { artifacts })]),
    };
    fs::write(dir.join(index_name(stream)), index.to_json())?;
    Ok(())
}

/// As the image's note says (kernel/image): ` runtimes=wasm,lua`.
fn runtimes(image: &[u8]) -> Vec<String> {
    const WORD: &[u8] = b" runtimes=";
    if !image.starts_with(b"\x7fELF") {
        return Vec::new();
    }
    let Some(at) = image.windows(WORD.len()).position(|window| window == WORD) else { return Vec::new() };
    let rest = &image[at + WORD.len()..];
    let end = rest.iter().position(|b| !(b.is_ascii_lowercase() || *b == b',')).unwrap_or(rest.len());
    String::from_utf8_lossy(&rest[..end]).split(',').map(str::to_owned).collect()
}

/// CycloneDX 1.5: the crate, and all that is linked with it. No time and no serial number, so that it is the same each time.
fn sbom(name: &str, lock: &Path) -> Result<()> {
    let metadata: Value = serde_json::from_reader(io::stdin().lock())?;
    let sums = checksums(&fs::read_to_string(lock)?);
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<String, Value> =
        list(&metadata, "packages").into_iter().map(|package| (text(&package["id"]), package)).collect();
    let nodes: BTreeMap<String, Value> =
        list(&metadata["resolve"], "nodes").into_iter().map(|node| (text(&node["id"]), node)).collect();
    let root = packages.iter().find(|(_, package)| package["name"] == name).map(|(id, _)| id.clone());
    let root = root.ok_or_else(|| format!("no crate {name} in the metadata"))?;
    // What is linked: neither tests nor build scripts.
    let needs = |id: &str| -> Vec<String> {
        let deps = nodes.get(id).map(|node| list(node, "deps")).unwrap_or_default();
        let linked = |dep: &Value| list(dep, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
        deps.iter().filter(|dep| linked(dep)).map(|dep| text(&dep["pkg"])).collect()
    };
    let (mut seen, mut next) = (BTreeSet::new(), vec![root.clone()]);
    while let Some(id) = next.pop() {
        if seen.insert(id.clone()) {
            next.extend(needs(&id));
        }
    }
    let reference = |id: &str| {
        let package = &packages[id];
        format!("pkg:cargo/{}@{}", text(&package["name"]), text(&package["version"]))
    };
    let component = |id: &str| {
        let package = &packages[id];
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let mut component = json!({
            "type": "library", "bom-ref": reference(id), "name": name, "version": version, "purl": reference(id)
        });
        if let Some(license) = package["license"].as_str() {
            component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
        }
        if let Some(sum) = sums.get(&(name, version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        component
    };
    let components: Vec<_> = seen.iter().filter(|id| **id != root).map(|id| component(id)).collect();
    let dependencies: Vec<_> = seen
        .iter()
        .map(|id| {
            let on: BTreeSet<_> = needs(id).iter().map(|id| reference(id)).collect();
            json!({ "ref": reference(id), "dependsOn": on })
        })
        .collect();
    let mut main = component(&root);
    main["type"] = "application".into();
    let bom = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": { "component": main }, "components": components, "dependencies": dependencies
    });
    println!("{bom:#}");
    Ok(())
}

/// Of the crates that came from a registry, by name and version, as Cargo.lock has them.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let mut sums = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \""));
            line.map(|line| line.trim_end_matches('"').to_owned())
        };
        if let (Some(name), Some(version), Some(sum)) = (value("name"), value("version"), value("checksum")) {
            sums.insert((name, version), sum);
        }
    }
    sums
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
