//! Bundles written and read back, opened by GNU tar, cut, flipped and forged.

use std::process::Command;

use lunette_bundle::{
    Bundle, Engine, Error, GuestPlan, GuestSpec, Http, HttpLimits, Kind, Launch, Manifest, MountSpec,
    Payload, Plan, Route, Source, Tls, Writer, attached,
};
use lunette_hostcalls::Grants;

const TOML: &str = "[app]\nmain = \"app.wasm\"\n";

fn grants(listen: &[&str], connect: &[&str], resolve: &[&str]) -> Grants {
    Grants {
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        connect: connect.iter().map(|text| text.parse().unwrap()).collect(),
        resolve: resolve.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn small() -> Vec<u8> {
    let mut writer = Writer::new(TOML.as_bytes());
    writer.file("app.wasm", &b"\0asm\x01\0\0\0"[..]).unwrap();
    writer.file("data/b.txt", &b"bee"[..]).unwrap();
    writer.symlink("data/a", "b.txt").unwrap();
    writer.to_bytes()
}

/// Everything the format has: large files, long names and targets, an empty folder, reserved names.
fn large() -> Vec<u8> {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let mut writer = Writer::new(TOML.as_bytes());
    writer.modified(1_700_000_000);
    writer.file("app.wasm", vec![b'w'; 54_321]).unwrap();
    writer.file(&long, vec![b'l'; 5000]).unwrap();
    writer.symlink(&format!("{long}-link"), &"t/".repeat(150)).unwrap();
    writer.directory("empty").unwrap();
    writer.file("data/page", vec![b'p'; 4096]).unwrap();
    writer.file("data/less", vec![b'q'; 4095]).unwrap();
    writer.file("data/none", Vec::new()).unwrap();
    writer.file(".lunette/mounts/0/x", &b"ex"[..]).unwrap();
    writer.native("app.wasm", &b"label\n"[..], &b"code"[..]).unwrap();
    writer.file("ünï/ço dé\n", &b"!"[..]).unwrap();
    writer.to_bytes()
}

fn error(bytes: &[u8]) -> Error {
    Bundle::parse(bytes).expect_err("a bad bundle was taken for a good one")
}

#[test]
fn what_was_written_is_read_back() {
    let bytes = large();
    let bundle = Bundle::parse(&bytes).unwrap();
    bundle.verify_hash().unwrap();
    assert_eq!(bundle.manifest().unwrap(), TOML);
    assert_eq!(bundle.bytes(), bytes);
    assert_eq!(bundle.file("app.wasm").unwrap(), vec![b'w'; 54_321]);
    assert_eq!(bundle.file("data/none").unwrap(), b"");
    assert_eq!(bundle.file("lunette.toml").unwrap(), TOML.as_bytes());
    assert_eq!(bundle.get("empty").unwrap().kind, Kind::Directory);
    assert_eq!(bundle.get("data").unwrap().modified, 1_700_000_000);
    assert_eq!(bundle.file("data"), None);
    assert_eq!(bundle.get("nothing"), None);
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    assert_eq!(bundle.file(&long).unwrap().len(), 5000);
    assert_eq!(bundle.get(&format!("{long}-link")).unwrap().kind, Kind::Symlink(&"t/".repeat(150)));

    let visible: Vec<_> = bundle.visible().map(|entry| entry.path).collect();
    assert_eq!(visible.first(), Some(&"lunette.toml"));
    assert!(!visible.iter().any(|path| path.starts_with(".lunette")), "{visible:?}");
    let under: Vec<_> = bundle.under("data").map(|(path, _)| path).collect();
    assert_eq!(under, ["less", "none", "page"]);
    assert_eq!(bundle.under(".lunette/mounts/0").map(|(path, _)| path).collect::<Vec<_>>(), ["x"]);
    assert_eq!(bundle.under("dat").count(), 0);
}

#[test]
fn large_files_begin_on_a_page_and_the_end_is_padded() {
    let bytes = large();
    assert_eq!(bytes.len() % 4096, 0);
    let bundle = Bundle::parse(&bytes).unwrap();
    let mut seen = 0;
    for entry in bundle.entries() {
        if let Kind::File(data) = entry.kind
            && (data.len() >= 4096 || entry.path.ends_with(".cwasm"))
        {
            assert_eq!((data.as_ptr() as usize - bytes.as_ptr() as usize) % 4096, 0, "{}", entry.path);
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

/// Whatever stands before a large file, its data begins on a page.
#[test]
fn alignment_holds_at_every_offset_and_name_length() {
    for blocks in 0..9 {
        for name in [1, 99, 100, 101, 102, 250] {
            let mut writer = Writer::new(TOML.as_bytes());
            writer.file("a", vec![0; blocks * 512]).unwrap();
            writer.file(&"n".repeat(name), vec![1; 4097]).unwrap();
            let bytes = writer.to_bytes();
            Bundle::parse(&bytes).unwrap_or_else(|e| panic!("{blocks} {name}: {e}"));
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes_in_any_order() {
    let mut writer = Writer::new(TOML.as_bytes());
    writer.symlink("data/a", "b.txt").unwrap();
    writer.file("data/b.txt", &b"bee"[..]).unwrap();
    writer.directory("data").unwrap();
    writer.file("app.wasm", &b"\0asm\x01\0\0\0"[..]).unwrap();
    assert_eq!(writer.to_bytes(), small());
    let mut streamed = Vec::new();
    let written = writer.write(&mut streamed).unwrap();
    assert_eq!(streamed, small());
    assert_eq!(written.size, streamed.len() as u64);
    assert_eq!(written.hash, Bundle::parse(&streamed).unwrap().hash());
}

#[test]
fn gnu_tar_lists_and_extracts_it() {
    if !Command::new("tar").arg("--version").output().is_ok_and(|o| o.stdout.starts_with(b"tar (GNU tar)")) {
        println!("skipped: no GNU tar here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("app.bundle"), large()).unwrap();
    let tar = |args: &[&str]| {
        let out = Command::new("tar").args(args).current_dir(dir.path()).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let listing = tar(&["tf", "app.bundle"]);
    let lines: Vec<_> = listing.lines().collect();
    assert_eq!(lines.first(), Some(&"lunette.toml"));
    assert_eq!(lines.last(), Some(&".lunette/sha256"));
    tar(&["xf", "app.bundle"]);
    assert_eq!(std::fs::read(dir.path().join("app.wasm")).unwrap(), vec![b'w'; 54_321]);
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    assert_eq!(std::fs::read(dir.path().join(&long)).unwrap().len(), 5000);
    let target = std::fs::read_link(dir.path().join(format!("{long}-link"))).unwrap();
    assert_eq!(target.to_str().unwrap(), "t/".repeat(150));
    assert!(dir.path().join("empty").is_dir());
    assert!(dir.path().join("ünï/ço dé\n").is_file());

    // And the hash is what the format says it is.
    let bytes = large();
    let block = tar(&["tRf", "app.bundle"]);
    let line = block.lines().find(|line| line.ends_with(".lunette/sha256")).unwrap();
    let block: usize = line.split([' ', ':']).nth(1).unwrap().parse().unwrap();
    assert_eq!(lunette_bundle::sha256_hex(&bytes[..block * 512]), Bundle::parse(&bytes).unwrap().hash());
}

#[test]
fn cut_at_every_byte_it_is_refused() {
    let bytes = small();
    for length in 0..bytes.len() {
        let e = error(&bytes[..length]);
        assert!(e.what.contains("cut short") || length < 512, "{length}: {e}");
        assert!(!e.help.is_empty() && e.place.contains("byte"), "{e}");
        if length > 0 {
            assert!(Payload::parse(&bytes[..length]).is_err());
        }
    }
}

#[test]
fn flipped_bits_are_refused_wherever_they_are() {
    let bytes = small();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            let refused = Bundle::parse(&bad).and_then(|bundle| bundle.verify_hash());
            assert!(refused.is_err(), "byte {at} bit {bit}");
            let _ = Payload::parse(&bad).map(|payload| payload.plan());
        }
    }
}

/// A tar header as another program might have written it.
fn header(name: &str, kind: u8, size: usize, change: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut header);
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.to_vec()
}

fn padded(mut bytes: Vec<u8>, to: usize) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
    bytes
}

/// A bundle with these parts between the manifest and the hash.
fn forged(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = header("lunette.toml", b'0', TOML.len(), |_| {});
    bytes.extend(padded(TOML.into(), 512));
    parts.iter().for_each(|part| bytes.extend(part));
    let hash = lunette_bundle::sha256_hex(&bytes) + "\n";
    bytes.extend(header(".lunette/sha256", b'0', hash.len(), |_| {}));
    bytes.extend(padded(hash.into(), 512));
    bytes.extend([0; 1024]);
    padded(bytes, 4096)
}

fn file(name: &str, data: &[u8]) -> Vec<u8> {
    [header(name, b'0', data.len(), |_| {}), padded(data.to_vec(), 512)].concat()
}

fn dir(name: &str) -> Vec<u8> {
    header(name, b'5', 0, |_| {})
}

fn pax(records: &str) -> Vec<u8> {
    [header("pax", b'x', records.len(), |_| {}), padded(records.into(), 512)].concat()
}

#[test]
fn forged_archives_are_refused_with_the_name_and_the_byte() {
    let good = forged(&[file("a", b"1"), dir("b/"), file("b/c", b"2"), dir("d")]);
    Bundle::parse(&good).unwrap().verify_hash().unwrap();

    let page = file("big", &[7; 4096]);
    let cases: &[(&str, Vec<Vec<u8>>)] = &[
        ("is absolute", vec![file("/etc/passwd", b"")]),
        ("has the component \"..\"", vec![file("../x", b"")]),
        ("has the component \"..\"", vec![dir("a"), file("a/../../x", b"")]),
        ("has the component \".\"", vec![file("./x", b"")]),
        ("has an empty component", vec![dir("a"), file("a//x", b"")]),
        ("is empty", vec![file("", b"")]),
        ("is empty", vec![dir("/")]),
        ("contains a NUL", vec![pax("12 path=a\0b\n"), file("ab", b"")]),
        ("\"a\" appears twice", vec![file("a", b"1"), file("a", b"2")]),
        ("\"lunette.toml\" appears twice", vec![file("lunette.toml", b"")]),
        ("\"a\" is out of order", vec![file("b", b""), file("a", b"")]),
        ("\"a/b\" comes before its folder", vec![file("a/b", b"")]),
        ("\"b/c\" comes before its folder", vec![dir("a"), file("b/c", b"")]),
        ("\"a/b\" is inside of something that is no folder", vec![file("a", b""), file("a/b", b"")]),
        ("does not begin at a multiple", vec![page]),
        // Nobody could map it.
        (
            "does not begin at a multiple",
            vec![dir(".lunette"), dir(".lunette/native"), file(".lunette/native/a.cwasm", b"x")],
        ),
        ("no octal number", vec![header("a", b'0', 0, |h| h[124..136].fill(b'9'))]),
        ("cut short in \"a\"", vec![header("a", b'0', 0o777_7777_7777, |_| {})]),
        ("tar type '1'", vec![header("a", b'1', 0, |h| h[157] = b'b')]),
        ("tar type '3'", vec![header("a", b'3', 0, |_| {})]),
        ("tar type 'g'", vec![header("a", b'g', 0, |_| {})]),
        ("bad target", vec![header("a", b'2', 0, |_| {})]),
        ("is no file, but has data", vec![header("a", b'5', 512, |_| {}), vec![0; 512]]),
        ("no POSIX tar header", vec![vec![1; 512]]),
        ("name prefix", vec![header("a", b'0', 0, |h| h[345] = b'p')]),
        ("\"GNU.sparse.size\" has no place", vec![pax("21 GNU.sparse.size=9\n"), file("a", b"")]),
        ("\"size\" has no place", vec![pax("10 size=9\n"), file("a", b"")]),
        ("pax header is broken", vec![pax("99 path=a\n"), file("a", b"")]),
        ("pax header is broken", vec![pax("0 path=a\n"), file("a", b"")]),
        ("pax header is broken", vec![pax("path=a\n"), file("a", b"")]),
        ("pax header is broken", vec![pax("99999999999999999999 path=a\n"), file("a", b"")]),
        ("no entry follows a pax header", vec![pax("9 path=a\n"), pax("9 path=b\n"), file("b", b"")]),
        ("no .lunette/sha256", vec![vec![0; 1024]]),
    ];
    for (words, parts) in cases {
        let e = error(&forged(parts));
        assert!(e.what.contains(words), "want {words:?}, got {e}");
        assert!(e.place.starts_with("bundle, byte ") && e.help.contains("lunette build"), "{e}");
    }
    let e = error(&forged(&[header("a", b'0', 0, |_| {}).into_iter().map(|b| b ^ 0x20).collect()]));
    assert_eq!(e.place, "bundle, byte 1024");
}

#[test]
fn the_first_and_the_last_entry_must_be_what_they_must_be() {
    let mut first = file("app.wasm", b"");
    first.extend([0; 1024]);
    assert!(error(&first).what.contains("\"app.wasm\" comes first"));
    assert!(error(&[0; 4096]).what.contains("no lunette.toml"));
    let mut long = small();
    long.push(0);
    assert!(error(&long).what.contains("1 bytes follow"));
}

#[test]
fn errors_are_one_line_whatever_the_names_say() {
    let e = error(&forged(&[file("a\nerror: b\x1b[31m\0", b""), file("a\nerror: b\x1b[31m\0", b"")]));
    let line = e.to_string();
    assert!(!line.contains(['\n', '\x1b']) && line.contains("; help: "), "{line}");
}

#[test]
fn a_payload_is_a_bundle_and_perhaps_a_launch() {
    let bundle = small();
    let launch = Launch { args: Some(vec!["-x".into(), "ü \"\\\n".into()]), ..Launch::default() };
    assert!(Launch::default().to_bytes().is_empty());

    for padding in [0, 1, 4096] {
        let mut bytes = [bundle.clone(), launch.to_bytes()].concat();
        bytes.resize(bytes.len() + padding, 0);
        let payload = Payload::parse(&bytes).unwrap();
        assert_eq!(payload.launch, launch);
        let plan = payload.plan().unwrap();
        assert_eq!(plan.app.args, ["app.wasm", "-x", "ü \"\\\n"]);
        assert_eq!(payload.main(&plan.app).unwrap(), b"\0asm\x01\0\0\0");
        let Source::Bundle(read) = &payload.source else { panic!("not a bundle") };
        assert_eq!(read.bytes(), bundle);
    }

    let whole = [bundle.clone(), launch.to_bytes()].concat();
    for length in bundle.len() + 1..whole.len() {
        let e = Payload::parse(&whole[..length]).expect_err("a launch cut short");
        assert!(e.what.contains("no launch"), "{length}: {e}");
    }
    let e = Payload::parse(&[bundle.clone(), bundle.clone()].concat()).unwrap_err();
    assert!(e.what.contains("begins with \"lunette.toml\""), "{e}");
    let e = Payload::parse(&[whole, vec![1]].concat()).unwrap_err();
    assert!(e.what.contains("follow the launch"), "{e}");
}

#[test]
fn a_signature_travels_between_bundle_and_launch() {
    let bundle = small();
    let launch = Launch { args: Some(vec!["x".into()]), ..Launch::default() };
    let signature = attached(b"untrusted comment: x\n");
    assert_eq!(signature.len(), 4096);
    for (rest, arguments) in [(launch.to_bytes(), 2), (Vec::new(), 1), (vec![0; 5], 1)] {
        let bytes = [bundle.clone(), signature.clone(), rest].concat();
        let payload = Payload::parse(&bytes).unwrap();
        assert_eq!(payload.signature, Some(&b"untrusted comment: x\n"[..]));
        assert_eq!(payload.plan().unwrap().app.args.len(), arguments);
        let Source::Bundle(read) = &payload.source else { panic!("not a bundle") };
        assert_eq!(read.bytes(), bundle, "it is none of the bundle's");
    }
    assert_eq!(Payload::parse(&bundle).unwrap().signature, None);
    let refused = |parts: &[Vec<u8>]| {
        Payload::parse(&[std::slice::from_ref(&bundle), parts].concat().concat()).unwrap_err()
    };
    assert!(refused(&[signature.clone(), signature.clone()]).what.contains("begins with \"bundle.minisig\""));
    assert!(refused(&[launch.to_bytes(), signature.clone()]).what.contains("follow the launch"));
    for cut in 1..4096 {
        assert!(refused(&[signature[..cut].to_vec()]).what.contains("no launch and no signature"), "{cut}");
    }
}

#[test]
fn a_payload_may_be_a_bare_module_and_nothing_else() {
    let bytes = b"\0asm\x01\0\0\0";
    let payload = Payload::parse(bytes).unwrap();
    let plan = payload.plan().unwrap();
    assert_eq!((&*plan.app.name, &*plan.app.args), ("app", &["app.wasm".to_owned()][..]));
    assert_eq!(plan.app.mounts[0].from, None);
    assert_eq!(payload.main(&plan.app).unwrap(), bytes);
    assert!(Payload::parse(b"").unwrap_err().what.contains("empty"));
    for bytes in [&b"#!/bin/sh\n"[..], &[0; 4096], b"\x7fELF"] {
        assert!(Payload::parse(bytes).unwrap_err().what.contains("neither a bundle nor a wasm"));
    }
}

#[test]
fn a_plan_is_the_manifest_and_the_launch_and_the_launch_wins() {
    let toml = r#"
        [app]
        name = "shop"
        version = "1.2.3"
        main = "bin/app.wasm"
        args = ["--from", "manifest"]
        [env]
        B = "2"
        A = "1"
        [resources]
        memory = "64MiB"
        timeout = "30s"
        fuel = 1000
        table-elements = 5
        [[mount]]
        path = "/data"
        from = "data"
        [[mount]]
        path = "scratch"
        size = "1M"
        [network]
        listen = ["80", "80/tcp"]
        resolve = ["*.example.org"]
    "#;
    let mut writer = Writer::new(toml.as_bytes());
    writer.file("bin/app.wasm", &b"\0asm"[..]).unwrap();
    writer.directory("data").unwrap();
    writer.directory(".lunette/mounts/0").unwrap();
    let bytes = writer.to_bytes();
    let payload = Payload::parse(&bytes).unwrap();
    let plan = payload.plan().unwrap().app;
    assert_eq!(plan.name, "shop");
    assert_eq!(plan.args, ["app.wasm", "--from", "manifest"]);
    assert_eq!(plan.env, [("B".into(), "2".into()), ("A".into(), "1".into())]);
    assert_eq!((plan.memory, plan.fuel, plan.tables), (Some(64 << 20), Some(1000), 5));
    assert_eq!(plan.timeout, Some(std::time::Duration::from_secs(30)));
    let shown = |plan: &GuestPlan| {
        let show =
            |m: &lunette_bundle::Mount| format!("{}={:?} {} {:?}", m.path, m.from, m.writable, m.limit);
        plan.mounts.iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(
        shown(&plan),
        [
            "/=Some(\"\") false None",
            "/tmp=None true None",
            "/data=Some(\"data\") false None",
            "scratch=None true Some(1048576)"
        ]
    );

    assert_eq!(plan.grants, grants(&["80"], &[], &["*.example.org"]));

    let launch = Launch {
        args: Some(vec![]),
        env: vec![("A".into(), "9".into()), ("C".into(), String::new())],
        memory: None,
        timeout: Some(std::time::Duration::from_millis(1500)),
        fuel: Some(7),
        mounts: vec![
            MountSpec {
                path: "/".into(),
                from: Some(".lunette/mounts/0".into()),
                writable: true,
                ..Default::default()
            },
            MountSpec { path: "/data/".into(), writable: true, size: Some(9), ..Default::default() },
        ],
        grants: grants(&["81", "80"], &["db:5432"], &[]),
        ..Launch::default()
    };
    let bytes = [bytes, launch.to_bytes()].concat();
    let plan = Payload::parse(&bytes).unwrap().plan().unwrap().app;
    assert_eq!(plan.args, ["app.wasm"]);
    assert_eq!(plan.env, [("B".into(), "2".into()), ("A".into(), "9".into()), ("C".into(), String::new())]);
    assert_eq!((plan.memory, plan.fuel), (Some(64 << 20), Some(7)));
    assert_eq!(plan.timeout, launch.timeout);
    assert_eq!(plan.grants, grants(&["80", "81"], &["db:5432"], &["*.example.org"]));
    assert_eq!(
        shown(&plan),
        [
            "/=Some(\".lunette/mounts/0\") true None",
            "/tmp=None true None",
            "/data/=None true Some(9)",
            "scratch=None true Some(1048576)"
        ]
    );
}

#[test]
fn a_plan_names_what_the_bundle_lacks() {
    let plan = |toml: &str| {
        let mut writer = Writer::new(toml.as_bytes().to_vec());
        writer.file("app.wasm", &b"\0asm"[..]).unwrap();
        writer.directory("dir").unwrap();
        let bytes = writer.to_bytes();
        Payload::parse(&bytes).and_then(|payload| payload.plan())
    };
    let app = "[app]\nmain = \"app.wasm\"\n";
    assert!(plan(app).is_ok());
    let e = plan("[app]\nmain = \"ap.wasm\"\n").unwrap_err();
    assert_eq!(e.what, "the bundle has no \"ap.wasm\", which `app.main` names");
    assert!(plan("[app]\nmain = \"dir\"\n").unwrap_err().what.contains("is a folder"));
    let e = plan(&format!("{app}[[mount]]\npath = \"/x\"\nfrom = \"y\"\n")).unwrap_err();
    assert_eq!(e.what, "the bundle has no folder \"y\", which \"/x\" is to show");
    let e = plan(&format!("{app}[[mount]]\npath = \"/x\"\nfrom = \"app.wasm\"\n")).unwrap_err();
    assert!(e.what.contains("is no folder"));
    let e = plan("[app]\nmian = \"app.wasm\"\n").unwrap_err();
    assert_eq!(e.to_string(), "unknown key `app.mian` (lunette.toml:2:1); help: did you mean `main`?");
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut writer = Writer::new(TOML.as_bytes());
    writer.file("a", &b""[..]).unwrap();
    assert!(writer.file("a", &b""[..]).unwrap_err().what.contains("there already"));
    assert!(writer.file("a/b", &b""[..]).unwrap_err().what.contains("no folder"));
    assert!(writer.directory("a").unwrap_err().what.contains("there already"));
    assert!(writer.file("../x", &b""[..]).is_err());
    assert!(writer.file("lunette.toml", &b""[..]).is_err());
    assert!(writer.file(".lunette/sha256", &b""[..]).is_err());
    assert!(writer.symlink("l", "").is_err());
    assert!(writer.contains("a") && writer.contains("lunette.toml") && !writer.contains("b"));
    Bundle::parse(&writer.to_bytes()).unwrap();
}

#[test]
fn a_manifest_that_is_no_text_is_named() {
    let writer = Writer::new(&b"[app]\n\xff"[..]);
    let bytes = writer.to_bytes();
    let e = Payload::parse(&bytes).unwrap_err();
    assert_eq!((&*e.what, &*e.place), ("lunette.toml is not UTF-8", "lunette.toml, byte 6"));
}

#[test]
fn manifests_and_launches_survive_being_written() {
    let http = Http {
        tls: Some(Tls { cert: "tls/c \"1\".pem".into(), key: "k.pem".into() }),
        max_requests: Some(100),
        reuse: Some(2),
        limits: HttpLimits {
            memory: Some(1 << 20),
            time: Some(std::time::Duration::from_millis(5)),
            fuel: Some(9),
        },
    };
    let app = GuestSpec {
        name: "n \"q\"".into(),
        main: "m\\.wasm".into(),
        engine: Engine::Wasmtime,
        args: vec!["a\tb".into(), "\u{7f}".into()],
        env: vec![("Z Z".into(), "ü".into()), ("A".into(), String::new())],
        memory: Some(1),
        timeout: Some(std::time::Duration::from_nanos(1_000_000_001)),
        fuel: Some(u64::MAX),
        table_elements: Some(3),
        bytecode: true,
        mounts: vec![MountSpec { path: ".".into(), from: Some("x".into()), writable: true, size: Some(5) }],
        grants: grants(&["80", "[::1]:53/udp"], &["10.0.0.0/8:*", "*:443"], &["*.example.org"]),
        http: http.clone(),
    };
    let plain = GuestSpec { name: "plain".into(), main: "p".into(), ..GuestSpec::default() };
    let guests = vec![
        plain.clone(),
        GuestSpec { name: "same".into(), ..app.clone() },
        GuestSpec { name: "last".into(), grants: grants(&[], &["db:5432"], &[]), ..plain },
    ];
    let route = |host: &str, path: &str, guest: &str| Route {
        host: host.parse().unwrap(),
        path: path.into(),
        guest: guest.into(),
    };
    let routes = vec![route("*", "/...", "n \"q\""), route("*.example.org", "/a\"b", "plain")];
    let manifest = Manifest { version: Some("1".into()), app: app.clone(), guests, routes };
    assert_eq!(Manifest::parse(&manifest.to_toml()).unwrap(), manifest);
    let bare = Manifest::bare("x/hello.wasm");
    assert_eq!((bare.app.name.as_str(), Manifest::parse(&bare.to_toml()).unwrap()), ("hello", bare.clone()));
    let launch = Launch {
        args: Some(vec![]),
        engine: Some(Engine::Auto),
        http: Http { tls: Some(Tls { cert: ".lunette/tls/cert.pem".into(), key: "k".into() }), ..http },
        env: app.env,
        memory: Some(2),
        timeout: app.timeout,
        fuel: Some(9),
        mounts: app.mounts,
        grants: app.grants,
        bytecode: true,
        watch: true,
        repl: true,
    };
    assert_eq!(Launch::parse(&launch.to_toml()).unwrap(), launch);
}

#[test]
fn bytecode_is_wanted_by_a_guest_and_allowed_by_a_run() {
    let plan = |lines: &str, bytecode| {
        let manifest = Manifest::parse(&format!("[app]\nmain = \"a.lua\"\n{lines}")).unwrap();
        Plan::new(None, &manifest, &Launch { bytecode, ..Launch::default() }).unwrap()
    };
    let beside = "[[guest]]\nname = \"b\"\nmain = \"b.lua\"\n[guest.lua]\nbytecode = true\n";
    for lines in ["[lua]\nbytecode = true\n", beside] {
        assert!(plan(lines, false).allowed().unwrap_err().help.contains("--allow-bytecode"));
        assert!(plan(lines, true).allowed().is_ok());
    }
    assert!(plan("", false).allowed().is_ok() && !plan("", true).app.bytecode);
    let e = Manifest::parse("[app]\nmain = \"a.lua\"\n[lua]\nbytecode = 1\n").unwrap_err();
    assert!(e.what.contains("`lua.bytecode` must be true or false"), "{e}");
}

#[test]
fn guests_beside_the_app_have_worlds_of_their_own() {
    let plan = |lines: &str| {
        let mut writer = Writer::new(format!("[app]\nmain = \"bin/app.wasm\"\n{lines}").into_bytes());
        writer.file("bin/app.wasm", &b"\0asm"[..]).unwrap();
        writer.file("bin/side.wasm", &b"\0asm2"[..]).unwrap();
        writer.directory("data").unwrap();
        let launch = Launch {
            args: Some(vec!["-x".into()]),
            env: vec![("A".into(), "1".into())],
            fuel: Some(1),
            grants: grants(&["80"], &[], &[]),
            ..Launch::default()
        };
        let bytes = [writer.to_bytes(), launch.to_bytes()].concat();
        let payload = Payload::parse(&bytes)?;
        let plan = payload.plan()?;
        for guest in plan.all() {
            assert!(payload.main(guest)?.starts_with(b"\0asm"));
        }
        Ok::<_, Error>(plan)
    };
    let whole = plan(
        r#"
        [network]
        connect = ["db:5432"]
        [[guest]]
        name = "one"
        main = "bin/side.wasm"
        args = ["-v"]
        [guest.env]
        B = "2"
        [guest.resources]
        memory = "16MiB"
        fuel = 7
        [guest.network]
        listen = ["9100"]
        [[guest.mount]]
        path = "/data"
        from = "data"
        [[guest]]
        name = "two"
        main = "bin/app.wasm"
    "#,
    )
    .unwrap();
    let names: Vec<_> = whole.all().map(|guest| guest.name.as_str()).collect();
    assert_eq!(names, ["app", "one", "two"]);
    assert_eq!((&*whole.app.args, whole.app.fuel), (&["app.wasm".to_owned(), "-x".into()][..], Some(1)));
    assert_eq!(whole.app.grants, grants(&["80"], &["db:5432"], &[]));
    // What the run adds is the app's alone.
    let one = &whole.guests[0];
    assert_eq!((&*one.main, &*one.args), ("bin/side.wasm", &["side.wasm".to_owned(), "-v".into()][..]));
    assert_eq!(one.env, [("B".to_owned(), "2".to_owned())]);
    assert_eq!((one.memory, one.fuel, one.timeout), (Some(16 << 20), Some(7), None));
    assert_eq!(one.grants, grants(&["9100"], &[], &[]));
    let mounts: Vec<_> = one.mounts.iter().map(|mount| mount.path.as_str()).collect();
    assert_eq!(mounts, ["/", "/tmp", "/data"]);
    let two = &whole.guests[1];
    assert!(two.grants.is_empty() && two.env.is_empty() && two.fuel.is_none() && two.mounts.len() == 2);

    let guest = |lines: &str| plan(&format!("[[guest]]\nname = \"one\"\n{lines}")).unwrap_err();
    let e = guest("main = \"side.wasm\"");
    assert_eq!(e.what, "the bundle has no \"side.wasm\", which `guest.main` names");
    assert_eq!(e.help, "put the module beside lunette.toml, or correct `guest.main` in it");
    assert!(guest("main = \"data\"").what.contains("is a folder"));
    let e = guest("main = \"bin/side.wasm\"\n[[guest.mount]]\npath = \"/x\"\nfrom = \"y\"");
    assert_eq!(e.what, "the bundle has no folder \"y\", which \"/x\" is to show");
}

#[test]
fn native_code_is_beside_its_program_and_begins_on_a_page() {
    let toml = "[app]\nmain = \"bin/a.wasm\"\n[[guest]]\nname = \"b\"\nmain = \"b.wasm\"\n";
    for size in [0, 1, 511, 4095, 4096, 70_000] {
        for blocks in 0..9 {
            let mut writer = Writer::new(toml.as_bytes());
            writer.file("bin/a.wasm", &b"\0asm"[..]).unwrap();
            writer.file("b.wasm", &b"\0asm"[..]).unwrap();
            writer.file(".lunette/mounts/0/x", vec![1; blocks * 512]).unwrap();
            writer.native("bin/a.wasm", &b"for a\n"[..], vec![7; size]).unwrap();
            let bytes = writer.to_bytes();
            let payload = Payload::parse(&bytes).unwrap();
            let plan = payload.plan().unwrap();
            let native = payload.native(&plan.app).unwrap().unwrap();
            assert_eq!((native.label, native.code), ("for a\n", &vec![7; size][..]));
            assert_eq!(
                (native.code.as_ptr() as usize - bytes.as_ptr() as usize) % 4096,
                0,
                "{size} {blocks}"
            );
            assert_eq!(payload.native(&plan.guests[0]), Ok(None));
        }
    }
}

#[test]
fn half_of_native_code_is_refused() {
    for (name, data, what) in [
        ("app.wasm.cwasm", &b"code"[..], "\".lunette/native/app.wasm.cwasm\" has no label beside it"),
        ("app.wasm.txt", b"label", "\".lunette/native/app.wasm.txt\" has no code beside it"),
    ] {
        let mut writer = Writer::new(TOML.as_bytes());
        writer.file(&format!(".lunette/native/{name}"), data).unwrap();
        let bytes = writer.to_bytes();
        let bundle = Bundle::parse(&bytes).unwrap();
        assert_eq!(bundle.native("app.wasm").unwrap_err().what, what);
        assert_eq!(bundle.native("other.wasm"), Ok(None));
    }
    let mut writer = Writer::new(TOML.as_bytes());
    writer.native("app.wasm", &b"\xff"[..], &b"code"[..]).unwrap();
    let bytes = writer.to_bytes();
    assert!(Bundle::parse(&bytes).unwrap().native("app.wasm").unwrap_err().what.contains("not UTF-8"));
}

#[test]
fn native_code_of_nobody_known_is_refused_where_that_is_demanded() {
    let mut writer = Writer::new(TOML.as_bytes());
    writer.file("app.wasm", &b"\0asm"[..]).unwrap();
    assert_eq!(Payload::parse(&writer.to_bytes()).unwrap().refuse_unsigned(), Ok(()));
    writer.native("app.wasm", &b"label"[..], &b"code"[..]).unwrap();
    let e = Payload::parse(&writer.to_bytes()).unwrap().refuse_unsigned().unwrap_err();
    assert!(e.what.contains("(app.wasm.cwasm)") && e.help.contains("--trust"), "{e}");
    assert_eq!(Payload::parse(b"\0asm").unwrap().refuse_unsigned(), Ok(()));
}

#[test]
fn how_requests_are_served_is_the_manifests_and_the_runs() {
    let plan = |lines: &str, launch: &Launch| {
        let toml = format!("[app]\nmain = \"app.wasm\"\n{lines}");
        let mut writer = Writer::new(toml.into_bytes());
        writer.file("app.wasm", &b"\0asm"[..]).unwrap();
        writer.file("tls/cert.pem", &b"-----BEGIN"[..]).unwrap();
        writer.file(".lunette/tls/key.pem", &b"-----BEGIN"[..]).unwrap();
        let bytes = [writer.to_bytes(), launch.to_bytes()].concat();
        Payload::parse(&bytes)?.plan()
    };
    let none = Launch::default();
    let tls = |cert: &str, key: &str| Some(Tls { cert: cert.into(), key: key.into() });
    let http = "[http]\nmax-requests = 8\nreuse = 3\n[http.limits]\nmemory = \"1M\"\ntime = \"1s\"\n";
    let app = plan(http, &none).unwrap().app;
    assert_eq!((app.engine, app.counts(), &app.http.tls), (Engine::Auto, false, &None));
    assert_eq!(
        (app.http.max_requests, app.http.reuse, app.http.limits.memory),
        (Some(8), Some(3), Some(1 << 20))
    );
    let launch = Launch {
        engine: Some(Engine::Wasmi),
        http: Http {
            tls: tls("tls/cert.pem", ".lunette/tls/key.pem"),
            reuse: Some(1),
            limits: HttpLimits { fuel: Some(5), ..HttpLimits::default() },
            ..Http::default()
        },
        ..Launch::default()
    };
    let app = plan(http, &launch).unwrap().app;
    assert_eq!((app.engine, app.counts(), &app.http.tls), (Engine::Wasmi, true, &launch.http.tls));
    assert_eq!(
        (app.http.max_requests, app.http.reuse, app.http.limits.memory),
        (Some(8), Some(1), Some(1 << 20))
    );

    let e = plan("[http]\ntls = { cert = \"tls/cert.pem\", key = \"tls/key.pem\" }", &none).unwrap_err();
    assert_eq!(e.what, "the bundle has no file \"tls/key.pem\", which `http.tls.key` names");
    let guest = "[[guest]]\nname = \"b\"\nmain = \"app.wasm\"\n[guest.http.tls]\ncert = \"tls/cert.pem\"\nkey = \"tls/cert.pem\"\n";
    assert_eq!(plan(guest, &none).unwrap().guests[0].http.tls, tls("tls/cert.pem", "tls/cert.pem"));
    let routed = format!("{guest}[[route]]\nguest = \"b\"\n");
    let e = plan(&routed, &none).unwrap_err();
    assert_eq!(e.what, "b has `http.tls`, and is served by the app's listener");
    let routed = routed.replace("[guest.http.tls]\ncert = \"tls/cert.pem\"\nkey = \"tls/cert.pem\"\n", "");
    assert_eq!(plan(&routed, &none).unwrap().routes.find("any", "/where"), 1);
}
