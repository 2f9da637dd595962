//! Keys, signatures beside bundles, and whether they fit.
//!
//! A bundle's signature is a file beside it, `APP.minisig`, as minisign writes it, over all of the bundle's bytes. It travels in the
//! payload between bundle and launch (`lunette_bundle::Payload`), so the bundle and its hash stay what they are.
//!
//! Promises: where a key is demanded, what is run is to the byte what was signed. Does not: keep keys, or find them: who trusts
//! somebody names the key.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lunette_bundle::{Bundle, attached};
use lunette_signature::{ENDING, Fault, MAX_SIZE, PublicKey, Verified, verify};

use crate::{
    exit,
    problem::{Problem, printable},
};

/// What the kernel is told with each key.
pub const WORD: &str = "lunette.trust=";

/// A key of the command line: the 56 characters, or a file that has them.
pub fn parse_key(text: &str) -> Result<PublicKey, String> {
    if let Ok(key) = PublicKey::parse(text.as_bytes()) {
        return Ok(key);
    }
    let bytes = match fs::read(text) {
        Ok(bytes) => bytes,
        Err(_) if text.starts_with("RW") => {
            return Err("it is no public key: those are 56 characters, which begin with RW".into());
        }
        Err(e) => return Err(format!("it is no public key (RW…), and as a file it can't be read: {e}")),
    };
    PublicKey::parse(&bytes).map_err(|fault| format!("it {fault}"))
}

/// Where the signature of a file is.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ENDING);
    name.into()
}

/// Reads a `.minisig`; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Problem> {
    let unreadable = |e: io::Error| {
        let what = format!("the signature can't be read: {e}");
        Problem::new(what, "see that it is a file that you may read").at(path.display())
    };
    match fs::metadata(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(unreadable(e)),
        Ok(metadata) if metadata.len() > MAX_SIZE as u64 => {
            let what = format!("it is no signature: it has {} bytes", metadata.len());
            return Err(Problem::new(what, "sign the bundle again: `lunette sign`").at(path.display()));
        }
        Ok(_) => {}
    }
    fs::read(path).map(Some).map_err(unreadable)
}

/// Has one of these keys signed it? `what` is named in the error.
pub fn check<'s>(
    what: &Path,
    content: &[u8],
    signature: &'s [u8],
    keys: &[PublicKey],
) -> Result<Verified<'s>, Problem> {
    verify(signature, content, keys).map_err(|fault| {
        let trusted: Vec<_> = keys.iter().map(|key| key.number().to_string()).collect();
        let help = match fault {
            Fault::Signature(_) => format!("get {} again from its maker", beside(what).display()),
            Fault::Stranger(_) => {
                format!("name its maker's key if you trust it; trusted here: {}", trusted.join(", "))
            }
            _ => "get it and its signature again from its maker".to_owned(),
        };
        Problem::new(format!("{} {fault}", what.display()), help)
    })
}

/// The signature that goes with a bundle into a payload, made from the app that the user named; empty without one.
///
/// With `keys`, one of them has signed exactly these bytes.
pub fn of_payload(app: &Path, bundle: &[u8], keys: &[PublicKey]) -> Result<Vec<u8>, Problem> {
    let file = beside(app);
    let Some(signature) = read(&file)? else {
        return match keys {
            [] => Ok(Vec::new()),
            _ if fs::read(app).is_ok_and(|bytes| bytes == bundle) => Err(Problem::new(
                format!("{} is not signed: there is no {}", app.display(), file.display()),
                "get its .minisig from its maker, or leave --trust out",
            )),
            _ => Err(Problem::new(
                format!("{} is no bundle that could be signed", app.display()),
                "make one with `lunette build`, sign it with `lunette sign`, and run that",
            )),
        };
    };
    // What the run adds to the bundle, nobody has signed.
    if !fs::read(app).is_ok_and(|bytes| bytes == bundle) {
        return match keys {
            [] => Ok(Vec::new()),
            _ => Err(Problem::new(
                format!("this run would change {}, which is signed as it is", app.display()),
                "leave out what adds files or native code (--dir, --tls, --aot, --cpu), or build with it, and sign that",
            )),
        };
    }
    if !keys.is_empty() {
        check(app, bundle, &signature, keys)?;
    }
    Ok(attached(&signature))
}

/// The words that have the image demand these keys.
pub fn words(keys: &[PublicKey]) -> impl Iterator<Item = String> {
    keys.iter().map(|key| format!("{WORD}{key}"))
}

/// A bundle is looked at before it is signed or believed: nobody wants to vouch for a broken one.
pub fn examine(path: &Path, bytes: &[u8]) -> Result<Option<String>, Problem> {
    if bytes.get(257..262) != Some(b"ustar") || !bytes.starts_with(lunette_bundle::MANIFEST.as_bytes()) {
        return Ok(None);
    }
    let bundle = Bundle::parse(bytes).map_err(|e| Problem::from(e).at(path.display()))?;
    bundle.verify_hash().map_err(|e| Problem::from(e).at(path.display()))?;
    Ok(Some(bundle.hash().to_owned()))
}

/// Reads a file that is to be signed or verified.
pub fn content(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|e| {
        let code = if e.kind() == io::ErrorKind::NotFound { exit::NOT_FOUND } else { exit::NOT_RUNNABLE };
        let help = if path.is_dir() { "build it first: `lunette build`" } else { "give the path of a file" };
        Problem::new(format!("it can't be read: {e}"), help).at(path.display()).code(code)
    })
}

/// A trusted comment as it may be shown.
pub fn shown(verified: &Verified<'_>) -> String {
    printable(verified.comment)
}
