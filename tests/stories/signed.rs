//! An image that is told whose apps to run refuses all others: by its command line, whatever starts it.

use std::{fs, path::PathBuf};

use lunette_signature::PublicKey;

use crate::{
    Stories,
    guests::folder,
    samples::{built, expected},
    vm::{booted, cannot_boot, lunette},
};

pub(crate) fn stories(s: &mut Stories) {
    let lack = cannot_boot().or(built("hello-rust").is_none().then_some("not built"));
    s.needs("signed: the image runs what a trusted key has signed, and says what it refuses", lack, || {
        let signed = Signed::new();
        let payload = signed.payload();
        let trust = format!("lunette.trust={}", signed.key);
        booted(&payload, &trust).farewell("exit 0").says(&String::from_utf8_lossy(&expected("hello-rust")));
        booted(&signed.bundle, "").farewell("exit 0");
        booted(&signed.bundle, &trust).farewell("refused the bundle is not signed");
        booted(&payload, &format!("lunette.trust={}", signed.other))
            .farewell("refused the bundle is signed by key");
        // The last does not take away what the first demands: each adds a key.
        booted(&payload, &format!("{trust} lunette.trust={}", signed.other)).farewell("exit 0");
        for bad in ["lunette.trust", "lunette.trust=", "lunette.trust=RWnone", "lunette.trust=\u{fc}"] {
            booted(&payload, bad).farewell("refused").says("is no minisign public key");
        }
    });
    s.needs("signed: a flipped byte of a bundle or its signature is refused by the image", lack, || {
        let signed = Signed::new();
        let (payload, size) = (signed.payload(), signed.bundle.len());
        let trust = format!("lunette.trust={}", signed.key);
        let module = payload.windows(4).position(|w| w == b"\0asm").expect("a module");
        let comment = payload.windows(16).position(|w| w == b"trusted comment:").expect("a comment");
        let comment = comment
            + payload[comment + 16..].windows(16).position(|w| w == b"trusted comment:").expect("two")
            + 16;
        // Of the manifest's header and text, of the module, of the bundle's end, of the signature, of its comment.
        for at in [140, 512, 520, module + 64, module + 5000, size - 1, size + 512 + 60, comment + 20] {
            let mut changed = payload.clone();
            changed[at] ^= 1;
            booted(&changed, &trust).farewell("refused");
        }
    });
}

struct Signed {
    bundle: Vec<u8>,
    signature: Vec<u8>,
    key: PublicKey,
    other: PublicKey,
}

impl Signed {
    fn new() -> Self {
        let dir = folder("signed");
        let path = |name: &str| -> PathBuf { dir.join(name) };
        let key = |name: &str| {
            lunette(["sign", "--new-key"]).args([path(name)]).run().exits(0);
            PublicKey::parse(&fs::read(path(&format!("{name}.pub"))).expect("a key")).expect("a key")
        };
        let (key, other) = (key("me"), key("other"));
        let bundle = path("hello.bundle");
        lunette(["build", "-o"]).args([bundle.clone(), built("hello-rust").expect("built")]).run().exits(0);
        lunette(["sign", "--key"]).args([path("me"), bundle.clone()]).run().exits(0);
        let read = |name: &str| fs::read(path(name)).expect("made");
        Self { bundle: read("hello.bundle"), signature: read("hello.bundle.minisig"), key, other }
    }

    fn payload(&self) -> Vec<u8> {
        [&self.bundle[..], &lunette_bundle::attached(&self.signature)].concat()
    }
}
