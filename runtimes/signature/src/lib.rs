//! Signatures in minisign's format (<https://jedisct1.github.io/minisign/>): keys, signatures, and the one question
//! whether these bytes were signed by one of these keys.
//!
//! ```text
//! public key    base64 of  "Ed"  8 bytes: the key's number  32 bytes: Ed25519     56 characters, RW…
//! signature     untrusted comment: …                                              nobody vouches for this line
//!               base64 of  "ED"  the key's number  64 bytes: over BLAKE2b-512 of the file ("Ed": over the file)
//!               trusted comment: …
//!               base64 of  64 bytes: over the signature above and the trusted comment
//! ```
//!
//! Promises: nothing that a file says panics or is believed before the signature over it was checked; whoever is told a
//! trusted comment is told one that was signed. Does not: sign, keep keys, or know what a good key is; the words after
//! `untrusted comment:` are not signed, and nobody is shown them.
#![forbid(unsafe_code)]

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use blake2::{Blake2b512, Digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// What a signature's file is called: the signed file's name, and this.
pub const ENDING: &str = ".minisig";
/// Longer ones are none.
pub const MAX_SIZE: usize = 4096;

const UNTRUSTED: &str = "untrusted comment:";
const TRUSTED: &str = "trusted comment: ";

/// Whose signature is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    number: Number,
    key: [u8; 32],
}

/// What a key is called: eight bytes that its maker's program threw dice for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number([u8; 8]);

/// A signature as it was read: what it says is not believed yet.
#[derive(Clone, Debug)]
pub struct Signature<'a> {
    number: Number,
    prehashed: bool,
    signature: [u8; 64],
    comment: &'a str,
    comment_signature: [u8; 64],
}

/// Who has signed, and what they said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<'a> {
    pub key: PublicKey,
    pub comment: &'a str,
}

/// Why the answer is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This is no public key.
    Key(&'static str),
    /// This is no signature.
    Signature(&'static str),
    /// It is of a key that is not among those that are trusted.
    Stranger(Number),
    /// The bytes are not those that were signed.
    Content(Number),
    /// The trusted comment is not the one that was signed.
    Comment(Number),
}

impl PublicKey {
    /// Reads a key: the 56 characters, or a file that has them below a comment.
    pub fn parse(text: &[u8]) -> Result<Self, Fault> {
        let text = text.trim_ascii();
        let text = std::str::from_utf8(text).map_err(|_| Fault::Key("it is not text"))?;
        let line = match text.strip_prefix(UNTRUSTED) {
            Some(file) => file.split_once('\n').map_or("", |(_, key)| key.trim()),
            None => text,
        };
        let bytes: [u8; 42] =
            decode(line).ok_or(Fault::Key("it is not the 56 characters of one, which begin with RW"))?;
        let (kind, rest) = bytes.split_at(2);
        if kind != b"Ed" {
            return Err(Fault::Key("it is of a kind that is not known"));
        }
        let (number, key) = rest.split_at(8);
        let short = |_| Fault::Key("it is too short");
        Ok(Self { number: Number(number.try_into().map_err(short)?), key: key.try_into().map_err(short)? })
    }

    pub fn number(&self) -> Number {
        self.number
    }

    fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key).verify(message, signature).is_ok()
    }
}

/// The 56 characters.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode([&b"Ed"[..], &self.number.0, &self.key].concat()))
    }
}

/// As minisign writes it: 16 hex digits.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl<'a> Signature<'a> {
    /// Reads a `.minisig`, which is four lines and nothing else.
    pub fn parse(text: &'a [u8]) -> Result<Self, Fault> {
        if text.len() > MAX_SIZE {
            return Err(Fault::Signature("it is too large"));
        }
        let text = std::str::from_utf8(text).map_err(|_| Fault::Signature("it is not text"))?;
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let mut line = || lines.next().ok_or(Fault::Signature("it is cut short"));
        if !line()?.starts_with(UNTRUSTED) {
            return Err(Fault::Signature("its first line is no `untrusted comment:`"));
        }
        let bytes: [u8; 74] = decode(line()?).ok_or(Fault::Signature("its second line is no signature"))?;
        let comment = line()?
            .strip_prefix(TRUSTED)
            .ok_or(Fault::Signature("its third line is no `trusted comment:`"))?;
        let comment_signature = decode(line()?).ok_or(Fault::Signature("its fourth line is no signature"))?;
        if lines.any(|line| !line.is_empty()) {
            return Err(Fault::Signature("more follows its fourth line"));
        }
        let (kind, rest) = bytes.split_at(2);
        let prehashed = match kind {
            b"ED" => true,
            b"Ed" => false,
            _ => return Err(Fault::Signature("it is of a kind that is not known")),
        };
        let (number, signature) = rest.split_at(8);
        let short = |_| Fault::Signature("it is cut short");
        Ok(Self {
            number: Number(number.try_into().map_err(short)?),
            prehashed,
            signature: signature.try_into().map_err(short)?,
            comment,
            comment_signature,
        })
    }

    /// The key that it says it is of.
    pub fn number(&self) -> Number {
        self.number
    }

    /// Has one of these keys signed this content, and the comment?
    pub fn verify(&self, content: &[u8], keys: &[PublicKey]) -> Result<Verified<'a>, Fault> {
        let named = keys.iter().filter(|key| key.number == self.number);
        // Two keys can have the same number: it is not a hash.
        let mut fault = Fault::Stranger(self.number);
        let digest;
        let message = if self.prehashed {
            digest = Blake2b512::digest(content);
            &digest[..]
        } else {
            content
        };
        for key in named {
            if !key.signed(message, &self.signature) {
                fault = Fault::Content(self.number);
                continue;
            }
            if !key.signed(&[&self.signature[..], self.comment.as_bytes()].concat(), &self.comment_signature)
            {
                return Err(Fault::Comment(self.number));
            }
            return Ok(Verified { key: key.clone(), comment: self.comment });
        }
        Err(fault)
    }
}

/// Was `content` signed by one of `keys`, as `signature`, a `.minisig`, says?
pub fn verify<'a>(signature: &'a [u8], content: &[u8], keys: &[PublicKey]) -> Result<Verified<'a>, Fault> {
    Signature::parse(signature)?.verify(content, keys)
}

/// What the caller puts after the name of the thing: `… is signed by key 1234, which is not trusted`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(why) => write!(f, "is no minisign public key: {why}"),
            Self::Signature(why) => write!(f, "has a signature that is none: {why}"),
            Self::Stranger(number) => write!(f, "is signed by key {number}, which is not among the trusted"),
            Self::Content(number) => {
                write!(f, "is not what key {number} has signed: it, or its signature, was changed")
            }
            Self::Comment(number) => {
                write!(f, "has a signature of key {number} whose trusted comment was changed")
            }
        }
    }
}

impl std::error::Error for Fault {}

/// Exactly `N` bytes in base64.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text.trim_end_matches(' ')).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    struct Signer(minisign::KeyPair);

    impl Signer {
        fn new() -> Self {
            Self(minisign::KeyPair::generate_unencrypted_keypair().unwrap())
        }

        fn key(&self) -> PublicKey {
            PublicKey::parse(self.0.pk.to_base64().as_bytes()).unwrap()
        }

        fn sign(&self, content: &[u8]) -> Vec<u8> {
            let signed = minisign::sign(None, &self.0.sk, Cursor::new(content), Some("of the moon"), None);
            signed.unwrap().into_string().into_bytes()
        }
    }

    /// By minisign itself, without prehashing (`-l`), of "moon\n".
    const LEGACY_KEY: &[u8] = include_bytes!("../tests/legacy.pub");
    const LEGACY: &[u8] = include_bytes!("../tests/legacy.minisig");
    /// And as it does now.
    const HASHED: &[u8] = include_bytes!("../tests/hashed.minisig");

    #[test]
    fn what_minisign_signs_is_taken() {
        let key = PublicKey::parse(LEGACY_KEY).unwrap();
        for signature in [LEGACY, HASHED] {
            let verified = verify(signature, b"moon\n", std::slice::from_ref(&key)).unwrap();
            assert_eq!((&verified.key, verified.comment), (&key, "by minisign 0.11"));
            let e = verify(signature, b"noon\n", std::slice::from_ref(&key)).unwrap_err();
            assert_eq!(e, Fault::Content(key.number()));
        }
    }

    #[test]
    fn keys_are_read_from_files_and_words_and_are_told_as_minisign_does() {
        let signer = Signer::new();
        let key = signer.key();
        let file = signer.0.pk.to_box().unwrap().to_string();
        assert_eq!(PublicKey::parse(file.as_bytes()), Ok(key.clone()));
        assert_eq!(PublicKey::parse(file.replace('\n', "\r\n").as_bytes()), Ok(key.clone()));
        assert_eq!(key.to_string(), signer.0.pk.to_base64());
        assert!(file.contains(&key.number().to_string()), "{file} {}", key.number());
        let words = key.to_string();
        for bad in
            ["", "RW", &words[1..], &words[..55], &format!("{words}A"), "untrusted comment: x", "\u{fc}"]
        {
            assert!(matches!(PublicKey::parse(bad.as_bytes()), Err(Fault::Key(_))), "{bad}");
        }
        assert!(matches!(PublicKey::parse(b"\xff"), Err(Fault::Key(_))));
    }

    #[test]
    fn any_flipped_bit_is_seen_but_for_the_comment_that_nobody_signs() {
        let signer = Signer::new();
        let keys = [Signer::new().key(), signer.key()];
        let content = b"a bundle".repeat(70);
        let signature = signer.sign(&content);
        assert_eq!(verify(&signature, &content, &keys).unwrap().comment, "of the moon");
        let mut changed = content.clone();
        for at in 0..content.len() {
            changed[at] ^= 1;
            assert_eq!(verify(&signature, &changed, &keys), Err(Fault::Content(keys[1].number())), "{at}");
            changed[at] ^= 1;
        }
        let free = UNTRUSTED.len()..signature.iter().position(|&byte| byte == b'\n').unwrap();
        for at in (0..signature.len() - 1).filter(|at| !free.contains(at)) {
            for bit in [1, 0x20, 0x80] {
                let mut changed = signature.clone();
                changed[at] ^= bit;
                assert!(verify(&changed, &content, &keys).is_err(), "{at} {bit}");
            }
        }
    }

    #[test]
    fn half_a_signature_and_more_than_one_are_none() {
        let signer = Signer::new();
        let signature = signer.sign(b"x");
        let key = [signer.key()];
        for end in 0..signature.len() - 1 {
            assert!(verify(&signature[..end], b"x", &key).is_err(), "{end}");
        }
        let more = [&signature[..], b"more\n"].concat();
        assert_eq!(verify(&more, b"x", &key), Err(Fault::Signature("more follows its fourth line")));
        let long = [b"untrusted comment: ".to_vec(), vec![b'x'; MAX_SIZE], signature].concat();
        assert_eq!(verify(&long, b"x", &key), Err(Fault::Signature("it is too large")));
    }

    #[test]
    fn a_strangers_signature_is_named_and_a_number_is_no_proof() {
        let (ours, theirs) = (Signer::new(), Signer::new());
        let signature = theirs.sign(b"x");
        assert_eq!(verify(&signature, b"x", &[ours.key()]), Err(Fault::Stranger(theirs.key().number())));
        assert_eq!(verify(&signature, b"x", &[]), Err(Fault::Stranger(theirs.key().number())));
        let pretender = PublicKey { number: theirs.key().number(), key: ours.key().key };
        assert_eq!(
            verify(&signature, b"x", std::slice::from_ref(&pretender)),
            Err(Fault::Content(pretender.number()))
        );
        // With the same number, the second is asked as well.
        assert!(verify(&signature, b"x", &[pretender, theirs.key()]).is_ok());
    }
}
