//! Releases as they come: from folders, from servers that keep their word, and from those that do not. Servers are on the loopback.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Cursor, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use lunette_releases::{Architecture, Artifact, Error, File, Index, SCHEMA, Source, Store};
use lunette_signature::PublicKey;
use minisign::KeyPair;
use sha2::{Digest, Sha256};

const NAME: &str = "stream-stable.json";

/// Who makes releases.
struct Maker {
    pair: KeyPair,
    dir: tempfile::TempDir,
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(pair: &KeyPair) -> PublicKey {
    PublicKey::parse(pair.pk.to_base64().as_bytes()).unwrap()
}

fn now() -> SystemTime {
    SystemTime::now()
}

impl Maker {
    /// With a release in a folder.
    fn new() -> Self {
        let maker = Self {
            pair: KeyPair::generate_unencrypted_keypair().unwrap(),
            dir: tempfile::tempdir().unwrap(),
        };
        maker.release(&maker.index("0.1.0", 5));
        maker
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The full image, which is large enough to be cut in two, and a small one.
    fn images(version: &str) -> [(&'static str, String, &'static str, Vec<u8>); 2] {
        [
            (
                "full",
                format!("lunette-{version}-full.elf"),
                "lunette.elf",
                version.repeat(50_000).into_bytes(),
            ),
            (
                "wasm",
                format!("lunette-{version}-wasm.elf"),
                "lunette-wasm.elf",
                version.repeat(10).into_bytes(),
            ),
        ]
    }

    fn index(&self, version: &str, serial: u64) -> Index {
        let artifacts = Self::images(version).into_iter().map(|(name, location, install, bytes)| {
            let file = File {
                location,
                size: bytes.len() as u64,
                sha256: sha256(&bytes),
                install: Some(install.into()),
            };
            let elf = BTreeMap::from([("kernel".to_owned(), file)]);
            let artifact = Artifact {
                release: version.into(),
                formats: BTreeMap::from([("elf".to_owned(), elf)]),
                ..Artifact::default()
            };
            (name.to_owned(), artifact)
        });
        Index {
            schema: SCHEMA,
            stream: "stable".into(),
            version: version.into(),
            serial,
            expires: "2999-01-01T00:00:00Z".into(),
            min_cli: "0.1.0".into(),
            architectures: BTreeMap::from([(
                "x86_64".to_owned(),
                Architecture { artifacts: artifacts.collect() },
            )]),
        }
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signed = minisign::sign(None, &self.pair.sk, Cursor::new(bytes), Some("index"), None);
        signed.unwrap().into_string().into_bytes()
    }

    fn release(&self, index: &Index) {
        self.put_index(index.to_json().as_bytes());
        for (_, location, _, bytes) in Self::images(&index.version) {
            fs::write(self.path(&location), bytes).unwrap();
        }
    }

    fn put_index(&self, bytes: &[u8]) {
        fs::write(self.path(NAME), bytes).unwrap();
        fs::write(self.path(&format!("{NAME}.minisig")), self.sign(bytes)).unwrap();
    }

    fn source(&self) -> Source {
        Source::new(self.dir.path().to_str().unwrap()).unwrap()
    }

    /// Who pulls, and trusts this maker.
    fn user(&self) -> User {
        let dir = tempfile::tempdir().unwrap();
        User { store: Store::new(dir.path().join("images"), vec![key(&self.pair)], "0.1.0"), dir }
    }
}

struct User {
    store: Store,
    dir: tempfile::TempDir,
}

impl User {
    fn pull(&self, source: &Source) -> Result<Vec<String>, Error> {
        self.store.pull(source, "stable", "x86_64", &[], now()).map(|(_, new)| new)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.store.version("0.1.0").join(name)
    }

    #[track_caller]
    fn refuses(&self, source: &Source, what: &str) {
        let e = self.pull(source).unwrap_err();
        assert!(e.what.contains(what) && !e.place.is_empty() && !e.help.is_empty(), "{what:?} in {e}");
        assert!(!e.to_string().contains('\n'), "{e}");
    }
}

#[test]
fn what_is_pulled_is_what_was_signed_and_is_pulled_once() {
    let maker = Maker::new();
    let user = maker.user();
    assert_eq!(user.pull(&maker.source()).unwrap(), ["lunette.elf", "lunette-wasm.elf"]);
    assert_eq!(fs::read(user.file("lunette.elf")).unwrap(), Maker::images("0.1.0")[0].3);
    assert_eq!(user.pull(&maker.source()).unwrap(), Vec::<String>::new());
    assert_eq!(user.store.verify("0.1.0", &[]).unwrap(), ["lunette-wasm.elf", "lunette.elf"]);

    let one = maker.user();
    let (installed, new) =
        one.store.pull(&maker.source(), "stable", "x86_64", &["wasm".into()], now()).unwrap();
    assert_eq!((new, installed.version.as_str()), (vec!["lunette-wasm.elf".to_owned()], "0.1.0"));
    for (architecture, artifact, what) in
        [("riscv64", "wasm", "no release for riscv64"), ("x86_64", "tiny", "no \"tiny\" in the release")]
    {
        let e =
            one.store.pull(&maker.source(), "stable", architecture, &[artifact.into()], now()).unwrap_err();
        assert!(e.what.contains(what) && e.help.starts_with("there is "), "{e}");
    }
}

#[test]
fn a_flipped_byte_is_seen_wherever_it_is() {
    let maker = Maker::new();
    let good = fs::read(maker.path(NAME)).unwrap();
    let signature = fs::read(maker.path("stream-stable.json.minisig")).unwrap();
    let user = maker.user();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let e = Index::open(&bad, &signature, &[key(&maker.pair)], "here").unwrap_err();
        assert!(e.what.contains("is not what key"), "{at}: {e}");
    }
    let mut bad = good.clone();
    bad[40] ^= 1;
    fs::write(maker.path(NAME), &bad).unwrap();
    user.refuses(&maker.source(), "the index is not what key");
    fs::write(maker.path(NAME), &good).unwrap();

    // In a file of the source, and in one that is here already.
    let path = maker.path("lunette-0.1.0-wasm.elf");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0x80;
        fs::write(&path, &bad).unwrap();
        user.refuses(&maker.source(), "something else");
        assert!(!user.file("lunette-wasm.elf").exists());
    }
    fs::write(&path, &whole).unwrap();
    user.pull(&maker.source()).unwrap();
    for name in ["lunette-wasm.elf", "index.json", "index.json.minisig"] {
        let whole = fs::read(user.file(name)).unwrap();
        let mut bad = whole.clone();
        let last = bad.len() - 5;
        bad[last] ^= 1;
        fs::write(user.file(name), &bad).unwrap();
        assert!(user.store.verify("0.1.0", &[]).is_err(), "{name}");
        assert!(user.store.verify("0.1.0", &["lunette-wasm.elf"]).is_err(), "{name}");
        fs::write(user.file(name), &whole).unwrap();
        user.store.verify("0.1.0", &[]).unwrap();
    }
    fs::write(user.file("lunette-own.elf"), b"x").unwrap();
    assert!(user.store.verify("0.1.0", &[]).unwrap_err().what.contains("nobody has signed it"));
}

#[test]
fn strangers_and_nobody_are_not_trusted() {
    let (maker, other) = (Maker::new(), Maker::new());
    other.user().refuses(&maker.source(), "which is not among the trusted");
    let dir = tempfile::tempdir().unwrap();
    let nobody = User { store: Store::new(dir.path(), Vec::new(), "0.1.0"), dir };
    nobody.refuses(&maker.source(), "nobody is trusted");
    fs::remove_file(maker.path("stream-stable.json.minisig")).unwrap();
    maker.user().refuses(&maker.source(), "can't be read");
}

#[test]
fn time_goes_on_and_never_back() {
    let maker = Maker::new();
    let user = maker.user();
    user.pull(&maker.source()).unwrap();
    maker.release(&maker.index("0.1.1", 6));
    user.pull(&maker.source()).unwrap();
    assert_eq!(user.store.all().unwrap().len(), 2);
    // An index that was good once.
    maker.release(&maker.index("0.1.0", 5));
    user.refuses(&maker.source(), "older than one that was here before: its serial is 5, and 6 was seen");
    // Who has seen none takes it.
    maker.user().pull(&maker.source()).unwrap();
    let late = now() + Duration::from_secs(1 << 35);
    let e = maker.user().store.index(&maker.source(), "stable", late).unwrap_err();
    assert!(e.what.contains("has expired: it was good until 2999"), "{e}");
    fs::write(user.dir.path().join("images/serials/stable"), "nonsense").unwrap();
    user.refuses(&maker.source(), "the serial is no number");
    maker.put_index(Index { min_cli: "0.2.0".into(), ..maker.index("0.2.0", 9) }.to_json().as_bytes());
    maker.user().refuses(&maker.source(), "need a command line of version 0.2.0 or later: this is 0.1.0");
}

#[test]
fn what_a_trusted_key_signs_by_mistake_is_refused() {
    let maker = Maker::new();
    let with = |change: &dyn Fn(&mut File)| {
        let mut index = maker.index("0.1.0", 5);
        let all = index.architectures.get_mut("x86_64").unwrap();
        let elf = all.artifacts.get_mut("wasm").unwrap().formats.get_mut("elf").unwrap();
        change(elf.get_mut("kernel").unwrap());
        index.to_json()
    };
    for (text, what) in [
        ("{}".to_owned(), "can't be read"),
        ("rubbish".to_owned(), "can't be read"),
        (maker.index("0.1.0", 5).to_json().replace("\"schema\": 1", "\"schema\": 2"), "of schema 2"),
        (Index { stream: "beta".into(), ..maker.index("0.1.0", 5) }.to_json(), "of another stream, beta"),
        (Index { expires: "soon".into(), ..maker.index("0.1.0", 5) }.to_json(), "expiry, \"soon\", is none"),
        (
            Index { version: "../x".into(), ..maker.index("0.1.0", 5) }.to_json(),
            "version, \"../x\", is no name",
        ),
        (with(&|file| file.location = "../evil".into()), "no name of a file"),
        (with(&|file| file.location = "http://evil/".into()), "no name of a file"),
        (with(&|file| file.install = Some("a/b".into())), "no name of a file"),
        (with(&|file| file.size = u64::MAX), "more than"),
        (with(&|file| file.sha256 = "A".repeat(64)), "SHA-256 of"),
    ] {
        maker.put_index(text.as_bytes());
        maker.user().refuses(&maker.source(), what);
    }
    maker.put_index(&vec![b' '; (1 << 20) + 1]);
    maker.user().refuses(&maker.source(), "so no index");
    let store = maker.user().store;
    assert!(store.index(&maker.source(), "../x", now()).unwrap_err().what.contains("no name of a stream"));
}

#[test]
fn a_mirror_is_as_good_as_what_it_mirrors() {
    let maker = Maker::new();
    let user = maker.user();
    let mirror = user.dir.path().join("mirror");
    assert_eq!(user.store.mirror(&maker.source(), "stable", &mirror, now()).unwrap().len(), 2);
    assert_eq!(user.store.mirror(&maker.source(), "stable", &mirror, now()).unwrap().len(), 0);
    let names: Vec<_> = fs::read_dir(&mirror).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let source = Source::new(mirror.to_str().unwrap()).unwrap();
    // Away from all else.
    drop(maker);
    assert_eq!(user.pull(&source).unwrap().len(), 2);
}

#[test]
fn what_is_not_of_this_version_can_go() {
    let maker = Maker::new();
    let user = maker.user();
    user.pull(&maker.source()).unwrap();
    maker.release(&maker.index("0.1.1", 6));
    user.pull(&maker.source()).unwrap();
    let gone = user.store.prune("0.1.1").unwrap();
    assert_eq!(gone.iter().map(|gone| gone.version.as_str()).collect::<Vec<_>>(), ["0.1.0"]);
    assert_eq!(user.store.all().unwrap().len(), 1);
    // The serial stays.
    maker.release(&maker.index("0.1.0", 5));
    user.refuses(&maker.source(), "older than one");
}

/// What a server does with a request for this name, from this byte on.
type Answer = dyn Fn(&str, u64, &mut TcpStream) + Send + Sync;

/// A server on the loopback, and the requests that it got.
fn serve(
    answer: impl Fn(&str, u64, &mut TcpStream) + Send + Sync + 'static,
) -> (Source, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/releases", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    let answer: Arc<Answer> = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else { continue };
            let mut from = 0;
            for line in lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                    from = range.trim_end_matches('-').parse().unwrap();
                }
            }
            let name = first.split(' ').nth(1).unwrap().strip_prefix("/releases/").unwrap().to_owned();
            seen.lock().unwrap().push(format!("{name} {from}"));
            let mut stream = stream;
            answer(&name, from, &mut stream);
        }
    });
    (Source::new(&url).unwrap(), asked)
}

fn say(stream: &mut TcpStream, head: &str, length: usize, body: &[u8]) {
    // Whoever has heard enough hangs up.
    let _ = write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let _ = stream.write_all(body);
    let _ = stream.flush();
}

fn file(folder: &Path, name: &str) -> Vec<u8> {
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_download_that_was_cut_short_goes_on_where_it_stopped() {
    for (keeps, first) in [(true, "from half"), (false, "from the beginning")] {
        let maker = Maker::new();
        let folder = maker.dir.path().to_owned();
        let cut = Mutex::new(true);
        let (source, asked) = serve(move |name, from, stream| {
            let whole = file(&folder, name);
            let half = name.ends_with("full.elf") && std::mem::take(&mut *cut.lock().unwrap());
            match (half, from) {
                (true, _) => say(stream, "200 OK", whole.len(), &whole[..whole.len() / 2]),
                (false, 1..) if keeps => {
                    let range = format!("content-range: bytes {from}-{}/{}", whole.len() - 1, whole.len());
                    let rest = &whole[from as usize..];
                    say(stream, &format!("206 Partial Content\r\n{range}"), rest.len(), rest);
                }
                (false, _) => say(stream, "200 OK", whole.len(), &whole),
            }
        });
        let user = maker.user();
        let e = user.pull(&source).unwrap_err();
        assert!(e.help.contains("goes on where it stopped"), "{e}");
        assert!(!user.file("lunette.elf").exists());
        user.pull(&source).unwrap();
        assert_eq!(file(&user.store.version("0.1.0"), "lunette.elf"), Maker::images("0.1.0")[0].3, "{first}");
        let half = Maker::images("0.1.0")[0].3.len() / 2;
        assert!(asked.lock().unwrap().contains(&format!("lunette-0.1.0-full.elf {half}")), "{asked:?}");
    }
}

#[test]
fn servers_that_do_not_keep_their_word() {
    let maker = Maker::new();
    let folder = maker.dir.path().to_owned();
    let lying = |lie: fn(&str, u64, &[u8], &mut TcpStream)| {
        let folder = folder.clone();
        serve(move |name, from, stream| match name.ends_with(".elf") {
            true => lie(name, from, &file(&folder, name), stream),
            false => say(stream, "200 OK", file(&folder, name).len(), &file(&folder, name)),
        })
        .0
    };
    let refuses = |source: &Source, what: &str| maker.user().refuses(source, what);
    refuses(&lying(|_, _, _, stream| say(stream, "404 Not Found", 0, b"")), "the server answers 404");
    refuses(&lying(|_, _, _, stream| say(stream, "500 Oh", 0, b"")), "the server answers 500");
    refuses(
        &lying(|_, _, whole, stream| say(stream, "200 OK", whole.len(), &vec![0; whole.len()])),
        "something else",
    );
    refuses(
        &lying(|_, _, whole, stream| say(stream, "200 OK", whole.len() * 2, &whole.repeat(2))),
        "sends more than",
    );
    refuses(&lying(|_, _, whole, stream| say(stream, "200 OK", 9, &whole[..9])), "cut short: 9 of");
    // Without an end, and without a length.
    refuses(
        &lying(|_, _, _, stream| {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while stream.write_all(&[0; 65536]).is_ok() {}
        }),
        "sends more than",
    );
    refuses(
        &lying(|_, from, whole, stream| match from {
            0 => say(stream, "200 OK", whole.len(), &whole[..9]),
            _ => say(stream, "206 Partial Content\r\ncontent-range: bytes 1-2/3", 2, b"xx"),
        }),
        "",
    );
    // Another part than was asked for.
    let user = maker.user();
    let source = lying(|_, from, whole, stream| match from {
        0 => say(stream, "200 OK", whole.len(), &whole[..9]),
        _ => say(stream, "206 Partial Content\r\ncontent-range: bytes 1-2/3", 2, b"xx"),
    });
    user.pull(&source).unwrap_err();
    user.refuses(&source, "another part than was asked for");
    // Rubbish for an index, and no HTTP at all.
    refuses(&serve(|_, _, stream| say(stream, "200 OK", 7, b"rubbish")).0, "a signature that is none");
    let endless = serve(|_, _, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        while stream.write_all(&[b' '; 65536]).is_ok() {}
    });
    refuses(&endless.0, "so no index");
    refuses(&serve(|_, _, stream| drop(stream.write_all(b"moon\r\n\r\n"))).0, "can't be reached");
    // A page for people, in place of the index or of an image.
    const PAGE: &[u8] = b"<!DOCTYPE html><title>Sign in</title>";
    refuses(&serve(|_, _, stream| say(stream, "200 OK", PAGE.len(), PAGE)).0, "a signature that is none");
    refuses(&lying(|_, _, _, stream| say(stream, "200 OK", PAGE.len(), PAGE)), "cut short: 37 of");
    // An index that stops in the middle.
    let half = folder.clone();
    let half = serve(move |name, _, stream| {
        let whole = file(&half, name);
        say(stream, "200 OK", whole.len(), &whole[..whole.len() / 2]);
    });
    refuses(&half.0, "it breaks off");
    // Redirections: in a circle, to nowhere, and to where it is.
    let circle = serve(|name, _, stream| {
        say(stream, &format!("302 Found\r\nlocation: /releases/{name}"), 0, b"");
    });
    refuses(&circle.0, "the server sends us on and on, more than 5 times");
    assert!(circle.1.lock().unwrap().len() <= 6, "{:?}", circle.1);
    refuses(
        &lying(|_, _, _, stream| say(stream, "302 Found\r\nlocation: ftp://x/", 0, b"")),
        "can't be reached",
    );
    let there = serve({
        let folder = folder.clone();
        move |name, _, stream| say(stream, "200 OK", file(&folder, name).len(), &file(&folder, name))
    });
    let base = there.0.place("");
    let moved = serve(move |name, _, stream| {
        say(stream, &format!("301 Moved Permanently\r\nlocation: {base}{name}"), 0, b"");
    });
    maker.user().pull(&moved.0).unwrap();
    // A port that was let go.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    refuses(&Source::new(&format!("http://{gone}")).unwrap(), "can't be reached");
    for (bad, what) in [("ftp://x", "no source"), ("/nonexistent/mirror", "no such folder")] {
        assert!(Source::new(bad).unwrap_err().what.contains(what), "{bad}");
    }
}
