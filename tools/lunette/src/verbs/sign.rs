//! `lunette sign` and `lunette verify`: bundles, and any other file, in minisign's format.
//!
//! Keys and signatures are minisign's own, so `minisign -Vm FILE -P KEY` says the same of them, and keys that it made are taken.

use std::{
    fs::{self, OpenOptions},
    io::{self, Cursor, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use minisign::{KeyPair, SecretKey, SecretKeyBox};
use serde_json::json;

use crate::{
    cli::{Sign, Verify},
    problem::Problem,
    signing,
};

/// Signs each file into one beside it; or makes a pair of keys.
pub fn sign(args: &Sign) -> Result<u8, Problem> {
    if let Some(path) = &args.new_key {
        new_key(path, args.password_file.as_deref())?;
    }
    let Some(path) = &args.key else {
        return match args.files.is_empty() && args.new_key.is_some() {
            true => Ok(0),
            false => Err(Problem::new(
                "there is no key to sign with",
                "name the secret key with --key; `lunette sign --new-key FILE` makes one",
            )),
        };
    };
    if args.files.is_empty() {
        return Err(Problem::new("there is nothing to sign", "name a bundle, as `lunette build` makes it"));
    }
    let key = secret(path, args.password_file.as_deref())?;
    for file in &args.files {
        let bytes = signing::content(file)?;
        let hash = signing::examine(file, &bytes)?;
        let comment = match &args.comment {
            Some(comment) => comment.clone(),
            None => {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let hash = hash.map(|hash| format!("\tsha256:{hash}")).unwrap_or_default();
                format!("timestamp:{}\tfile:{name}{hash}", now()?)
            }
        };
        if comment.contains(['\n', '\r']) {
            return Err(Problem::new("a comment is one line", "leave the line ends out").at("--comment"));
        }
        let signed = minisign::sign(None, &key, Cursor::new(&bytes), Some(&comment), None);
        let signed = signed.map_err(|e| Problem::new(format!("it can't be signed: {e}"), "try again"))?;
        let output = signing::beside(file);
        super::build::save(&output, signed.into_string().as_bytes()).map_err(|e| {
            Problem::new(format!("the signature can't be written: {e}"), "see that its folder is yours")
                .at(output.display())
        })?;
        super::print(&format!("{}\n", output.display()))?;
    }
    Ok(0)
}

/// Says who has signed, or refuses.
pub fn verify(args: &Verify) -> Result<u8, Problem> {
    for file in &args.files {
        let bytes = signing::content(file)?;
        let beside = args.signature.clone().unwrap_or_else(|| signing::beside(file));
        let signature = signing::read(&beside)?.ok_or_else(|| {
            let help = "get it from the maker, or name it with --signature";
            Problem::new(format!("{} is not signed: there is no {}", file.display(), beside.display()), help)
        })?;
        let verified = signing::check(file, &bytes, &signature, &args.key)?;
        let hash = signing::examine(file, &bytes)?;
        let (key, comment) = (verified.key.number(), signing::shown(&verified));
        if args.format.json() {
            super::print_json(&json!({
                "file": file, "key": key.to_string(), "comment": comment, "sha256": hash
            }))?;
        } else {
            super::print(&format!("{}  signed by {key}  {comment}\n", file.display()))?;
        }
    }
    Ok(0)
}

/// The time that a signature bears: now, unless the maker says otherwise (reproducible-builds.org).
fn now() -> Result<u64, Problem> {
    match crate::app::source_date_epoch()? {
        0 => Ok(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        seconds => Ok(seconds),
    }
}

/// Makes a pair: FILE, for nobody else to read, and FILE.pub. Prints the public one.
fn new_key(path: &Path, password: Option<&Path>) -> Result<(), Problem> {
    let failed = |e: &dyn std::fmt::Display| {
        let help = "name a file that is not there yet, in a folder of yours";
        Problem::new(format!("the key can't be made: {e}"), help).at(path.display())
    };
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    if fs::symlink_metadata(path).is_ok() || fs::symlink_metadata(&public).is_ok() {
        return Err(failed(&"it, or its .pub, is there already"));
    }
    let pair = match password {
        Some(file) => KeyPair::generate_encrypted_keypair(Some(password_of(file)?)),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let pair = pair.map_err(|e| failed(&e))?;
    let secret = pair.sk.to_box(None).map_err(|e| failed(&e))?.into_string();
    let key = pair.pk.to_base64();
    let text = pair.pk.to_box().map_err(|e| failed(&e))?.into_string();
    let new = |path: &Path, mode| OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    new(path, 0o600).and_then(|mut file| file.write_all(secret.as_bytes())).map_err(|e| failed(&e))?;
    let write = |mut file: fs::File| file.write_all(text.as_bytes());
    new(Path::new(&public), 0o644).and_then(write).map_err(|e| failed(&e))?;
    super::print(&format!("{key}\n"))
}

/// The key of a file, with its password if it has one.
fn secret(path: &Path, password: Option<&Path>) -> Result<SecretKey, Problem> {
    let none = |e: &dyn std::fmt::Display| {
        let help = "name a secret key of minisign's, or make one: `lunette sign --new-key FILE`";
        Problem::new(format!("this is no secret key: {e}"), help).at(path.display()).at("--key")
    };
    let text = fs::read_to_string(path).map_err(|e| none(&e))?;
    if !(text.starts_with("untrusted comment:")
        && text.lines().nth(1).is_some_and(|key| key.starts_with("RW")))
    {
        return Err(none(&"it has not the two lines of one"));
    }
    let boxed = || SecretKeyBox::from_string(text.trim_end()).map_err(|e| none(&e));
    if let Ok(key) = boxed()?.into_unencrypted_secret_key() {
        return Ok(key);
    }
    let password = match password {
        Some(file) => Some(password_of(file)?),
        None if io::stdin().is_terminal() => None,
        None => {
            let what = "the key has a password, and there is nobody to ask for it";
            let help = "put it into a file and name that with --password-file";
            return Err(Problem::new(what, help).at(path.display()));
        }
    };
    boxed()?.into_secret_key(password).map_err(|e| {
        let what = format!("the key does not open: {e}");
        Problem::new(what, "give the password that it was made with").at(path.display())
    })
}

fn password_of(path: &Path) -> Result<String, Problem> {
    let text = fs::read_to_string(path).map_err(|e| {
        Problem::new(format!("the password can't be read: {e}"), "name a file with one line")
            .at(path.display())
    })?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
