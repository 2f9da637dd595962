//! `crypto`: hashes, and what is made of keys; by ring, which TLS brings anyway (MD5 is for old protocols, by md-5).
//!
//! - `hash(algorithm, s [, encoding])`, `hmac(algorithm, key, s [, encoding])`: the encoding is `raw` (as it is unless said
//!   otherwise), `hex`, `base64` or `base64url`.
//! - `random(n)` bytes fit for keys; `uuid4()`, `uuid7()`; `equal(a, b)` in a time that does not tell where they differ.
//! - `pbkdf2(algorithm, password, salt, iterations, length [, encoding])`: others run meanwhile.
//! - `aead.seal(algorithm, key, s [, extra])` with a fresh nonce, which the result begins with; `aead.open(algorithm, key,
//!   sealed [, extra])` gives the text or `nil, message`.
//! - `ed25519.keygen()` gives a private and a public key of 32 bytes; `ed25519.sign(private, s)`, `ed25519.verify(public, s,
//!   signature)`.
//! - `jwt.sign(claims, key [, algorithm])`, `jwt.verify(token, key [, algorithm])`: HS256 or EdDSA, as the caller says and never
//!   as the token does; `exp` and `nbf` are checked where they are.
//!
//! An unknown algorithm or a key of the wrong length is raised; what others send and is wrong is answered.

use std::{future::poll_fn, rc::Rc, task::Poll};

use base64::Engine;
use lunette_hostcalls::Errno;
use md5::Digest;
use mlua::{BString, IntoLua, Lua, LuaString, MultiValue, Table, Value};
use ring::{
    aead, digest, hmac,
    signature::{self, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use subtle::ConstantTimeEq;

use super::{
    encoding::{BASE64, BASE64_URL, hex},
    json,
};
use crate::world::World;

/// More random bytes at once nobody needs.
const MOST_RANDOM: usize = 1 << 20;
/// How many rounds of `pbkdf2` run before others have their turn.
const ROUNDS: u32 = 1000;
const NONCE: usize = aead::NONCE_LEN;

pub(super) fn open(lua: &Lua, world: &Rc<World>) -> mlua::Result<Value> {
    let module = lua.create_table()?;
    let hash = |lua: &Lua, (name, bytes, encoding): (String, LuaString, Option<String>)| {
        let bytes = bytes.as_bytes();
        if name == "md5" {
            return encoded(lua, "crypto.hash", &md5::Md5::digest(&*bytes), encoding);
        }
        encoded(
            lua,
            "crypto.hash",
            digest::digest(hash_of("crypto.hash", &name)?.digest, &bytes).as_ref(),
            encoding,
        )
    };
    module.raw_set("hash", lua.create_function(hash)?)?;
    let mac = |lua: &Lua, (name, key, bytes, encoding): (String, LuaString, LuaString, Option<String>)| {
        let key = hmac::Key::new(hash_of("crypto.hmac", &name)?.hmac, &key.as_bytes());
        encoded(lua, "crypto.hmac", hmac::sign(&key, &bytes.as_bytes()).as_ref(), encoding)
    };
    module.raw_set("hmac", lua.create_function(mac)?)?;
    let equal = |_: &Lua, (one, other): (LuaString, LuaString)| {
        Ok(bool::from(one.as_bytes().ct_eq(&*other.as_bytes())))
    };
    module.raw_set("equal", lua.create_function(equal)?)?;
    module.raw_set("pbkdf2", lua.create_async_function(pbkdf2)?)?;
    {
        let world = world.clone();
        let random = move |lua: &Lua, count: usize| {
            if count > MOST_RANDOM {
                let words = format!("crypto.random: {count} bytes are more than {MOST_RANDOM}");
                return Err(mlua::Error::runtime(words));
            }
            let mut bytes = vec![0; count];
            answer(lua, fill(&world, &mut bytes).map(|()| BString::from(bytes)))
        };
        module.raw_set("random", lua.create_function(random)?)?;
    }
    {
        let world = world.clone();
        let uuid = move |lua: &Lua, ()| {
            let mut bytes = [0; 16];
            answer(lua, fill(&world, &mut bytes).map(|()| uuid(bytes, 4)))
        };
        module.raw_set("uuid4", lua.create_function(uuid)?)?;
    }
    {
        let world = world.clone();
        let uuid = move |lua: &Lua, ()| {
            let mut bytes = [0; 16];
            let made = fill(&world, &mut bytes).and_then(|()| {
                let now = world.ctx.clock.wall().ok_or("the clock is not set")?;
                bytes[..6].copy_from_slice(&(now / 1_000_000).to_be_bytes()[2..]);
                Ok(uuid(bytes, 7))
            });
            answer(lua, made)
        };
        module.raw_set("uuid7", lua.create_function(uuid)?)?;
    }
    module.raw_set("aead", open_aead(lua, world)?)?;
    module.raw_set("ed25519", open_ed25519(lua, world)?)?;
    module.raw_set("jwt", open_jwt(lua, world)?)?;
    Ok(Value::Table(module))
}

fn open_aead(lua: &Lua, world: &Rc<World>) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let world = world.clone();
    let seal =
        move |lua: &Lua, (name, key, bytes, extra): (String, LuaString, LuaString, Option<LuaString>)| {
            let key = aead_key("crypto.aead.seal", &name, &key)?;
            let mut nonce = [0; NONCE];
            if let Err(words) = fill(&world, &mut nonce) {
                return answer(lua, Err::<Value, _>(words));
            }
            let extra = extra.as_ref().map(LuaString::as_bytes);
            let extra = aead::Aad::from(extra.as_deref().unwrap_or_default());
            let mut sealed = nonce.to_vec();
            sealed.extend_from_slice(&bytes.as_bytes());
            let tag = key.seal_in_place_separate_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                extra,
                &mut sealed[NONCE..],
            );
            let tag = tag.map_err(|_| mlua::Error::runtime("crypto.aead.seal: the text is too long"))?;
            sealed.extend_from_slice(tag.as_ref());
            answer(lua, Ok(BString::from(sealed)))
        };
    module.raw_set("seal", lua.create_function(seal)?)?;
    let open = |lua: &Lua, (name, key, sealed, extra): (String, LuaString, LuaString, Option<LuaString>)| {
        let key = aead_key("crypto.aead.open", &name, &key)?;
        let extra = extra.as_ref().map(LuaString::as_bytes);
        let extra = aead::Aad::from(extra.as_deref().unwrap_or_default());
        let sealed = sealed.as_bytes();
        let opened = sealed.split_first_chunk::<NONCE>().and_then(|(nonce, sealed)| {
            let mut sealed = sealed.to_vec();
            let nonce = aead::Nonce::assume_unique_for_key(*nonce);
            let length = key.open_in_place(nonce, extra, &mut sealed).ok()?.len();
            sealed.truncate(length);
            Some(BString::from(sealed))
        });
        answer(lua, opened.ok_or("it was not sealed with this key, or was changed".to_owned()))
    };
    module.raw_set("open", lua.create_function(open)?)?;
    Ok(module)
}

fn open_ed25519(lua: &Lua, world: &Rc<World>) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let world = world.clone();
    let keygen = move |lua: &Lua, ()| {
        let mut seed = [0; 32];
        if let Err(words) = fill(&world, &mut seed) {
            return answer(lua, Err::<Value, _>(words));
        }
        let pair = key_pair("crypto.ed25519.keygen", &seed)?;
        let public = pair.public_key().as_ref();
        Ok(MultiValue::from_vec(vec![
            Value::String(lua.create_string(seed)?),
            Value::String(lua.create_string(public)?),
        ]))
    };
    module.raw_set("keygen", lua.create_function(keygen)?)?;
    let sign = |lua: &Lua, (private, bytes): (LuaString, LuaString)| {
        let pair = key_pair("crypto.ed25519.sign", &private.as_bytes())?;
        lua.create_string(pair.sign(&bytes.as_bytes()))
    };
    module.raw_set("sign", lua.create_function(sign)?)?;
    let verify = |_: &Lua, (public, bytes, signature): (LuaString, LuaString, LuaString)| {
        Ok(is_signed(&public.as_bytes(), &bytes.as_bytes(), &signature.as_bytes()))
    };
    module.raw_set("verify", lua.create_function(verify)?)?;
    Ok(module)
}

fn open_jwt(lua: &Lua, world: &Rc<World>) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let sign = |lua: &Lua, (claims, key, algorithm): (Table, LuaString, Option<String>)| {
        let algorithm = Jwt::of("crypto.jwt.sign", algorithm)?;
        let claims = json::text(lua, &Value::Table(claims)).map_err(|fault| match fault {
            json::write::Fault::Lua(error) => error,
            json::write::Fault::Value(words, _) => mlua::Error::runtime(format!("crypto.jwt.sign: {words}")),
        })?;
        let header = format!("{{\"alg\":\"{}\",\"typ\":\"JWT\"}}", algorithm.name());
        let mut token = format!("{}.{}", BASE64_URL.encode(header), BASE64_URL.encode(claims));
        let key = key.as_bytes();
        let signature = match algorithm {
            Jwt::Hs256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
                BASE64_URL.encode(hmac::sign(&key, token.as_bytes()))
            }
            Jwt::EdDsa => BASE64_URL.encode(key_pair("crypto.jwt.sign", &key)?.sign(token.as_bytes())),
        };
        token.push('.');
        token += &signature;
        Ok(token)
    };
    module.raw_set("sign", lua.create_function(sign)?)?;
    let world = world.clone();
    let verify = move |lua: &Lua, (token, key, algorithm): (LuaString, LuaString, Option<String>)| {
        let algorithm = Jwt::of("crypto.jwt.verify", algorithm)?;
        let now = world.ctx.clock.wall();
        let claims = claims(lua, &token.as_bytes(), &key.as_bytes(), algorithm, now);
        answer(lua, claims.map_err(|why| format!("token: {why}")))
    };
    module.raw_set("verify", lua.create_function(verify)?)?;
    Ok(module)
}

/// How tokens are signed.
#[derive(Clone, Copy)]
enum Jwt {
    Hs256,
    EdDsa,
}

impl Jwt {
    fn of(call: &str, name: Option<String>) -> mlua::Result<Self> {
        match name.as_deref() {
            None | Some("HS256") => Ok(Self::Hs256),
            Some("EdDSA") => Ok(Self::EdDsa),
            Some(other) => Err(unknown(call, "algorithm", other, &["HS256", "EdDSA"])),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// What a token says, if it is signed so and holds now.
fn claims(
    lua: &Lua,
    token: &[u8],
    key: &[u8],
    algorithm: Jwt,
    now: Option<u64>,
) -> Result<Value, &'static str> {
    const SHAPE: &str = "it is none";
    let token = std::str::from_utf8(token).map_err(|_| SHAPE)?;
    let (signed, signature) = token.rsplit_once('.').ok_or(SHAPE)?;
    let (header, claims) = signed.split_once('.').ok_or(SHAPE)?;
    let signature = BASE64_URL.decode(signature).map_err(|_| SHAPE)?;
    let table = |text: &str| {
        let text = BASE64_URL.decode(text).ok()?;
        json::read::read(lua, &text, json::STRICT).ok()?.as_table().cloned()
    };
    let header = table(header).ok_or(SHAPE)?;
    if header.raw_get::<Option<String>>("alg").ok().flatten().as_deref() != Some(algorithm.name()) {
        return Err("it is signed by another algorithm");
    }
    if !matches!(header.raw_get::<Value>("crit"), Ok(Value::Nil)) {
        return Err("it asks for what is not known");
    }
    let good = match algorithm {
        Jwt::Hs256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key);
            hmac::verify(&key, signed.as_bytes(), &signature).is_ok()
        }
        Jwt::EdDsa => is_signed(key, signed.as_bytes(), &signature),
    };
    if !good {
        return Err("its signature is wrong");
    }
    let claims = table(claims).ok_or(SHAPE)?;
    let time = |name: &str| match claims.raw_get(name) {
        Ok(Value::Nil) => Ok(None),
        Ok(Value::Integer(seconds)) => Ok(Some(seconds as f64)),
        Ok(Value::Number(seconds)) => Ok(Some(seconds)),
        _ => Err("a time in it is no number"),
    };
    for (name, wrong) in [("exp", "it has expired"), ("nbf", "it is not valid yet")] {
        if let Some(time) = time(name)? {
            let now = now.ok_or("the clock is not set")? as f64 / 1e9;
            if (name == "exp") == (now >= time) {
                return Err(wrong);
            }
        }
    }
    Ok(Value::Table(claims))
}

/// A hash in the forms that ring knows it in.
struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
}

fn hash_of(call: &str, name: &str) -> mlua::Result<Hash> {
    let (digest, hmac) = match name {
        "sha1" => (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        "sha256" => (&digest::SHA256, hmac::HMAC_SHA256),
        "sha384" => (&digest::SHA384, hmac::HMAC_SHA384),
        "sha512" => (&digest::SHA512, hmac::HMAC_SHA512),
        other if call == "crypto.hash" => {
            return Err(unknown(call, "algorithm", other, &["md5", "sha1", "sha256", "sha384", "sha512"]));
        }
        other => return Err(unknown(call, "algorithm", other, &["sha1", "sha256", "sha384", "sha512"])),
    };
    Ok(Hash { digest, hmac })
}

fn unknown(call: &str, what: &str, name: &str, known: &[&str]) -> mlua::Error {
    mlua::Error::runtime(format!("{call}: there is no {what} {name}; there are: {}", known.join(", ")))
}

fn encoded(lua: &Lua, call: &str, bytes: &[u8], encoding: Option<String>) -> mlua::Result<LuaString> {
    match encoding.as_deref() {
        None | Some("raw") => lua.create_string(bytes),
        Some("hex") => lua.create_string(hex(bytes)),
        Some("base64") => lua.create_string(BASE64.encode(bytes)),
        Some("base64url") => lua.create_string(BASE64_URL.encode(bytes)),
        Some(other) => Err(unknown(call, "encoding", other, &["raw", "hex", "base64", "base64url"])),
    }
}

/// The value, or `nil, message`.
fn answer(lua: &Lua, result: Result<impl IntoLua, String>) -> mlua::Result<MultiValue> {
    Ok(MultiValue::from_vec(match result {
        Ok(value) => vec![value.into_lua(lua)?],
        Err(words) => vec![Value::Nil, words.into_lua(lua)?],
    }))
}

fn fill(world: &World, bytes: &mut [u8]) -> Result<(), String> {
    world.ctx.random.fill(bytes).map_err(|errno| match errno {
        Errno::Again => "there is no randomness yet".to_owned(),
        other => other.to_string(),
    })
}

/// RFC 9562's text of it, with its version and variant.
fn uuid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = bytes[6] & 0x0F | version << 4;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let text = hex(&bytes);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

fn aead_key(call: &str, name: &str, key: &LuaString) -> mlua::Result<aead::LessSafeKey> {
    let algorithm = match name {
        "aes-128-gcm" => &aead::AES_128_GCM,
        "aes-256-gcm" => &aead::AES_256_GCM,
        "chacha20-poly1305" => &aead::CHACHA20_POLY1305,
        other => {
            let known = ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"];
            return Err(unknown(call, "algorithm", other, &known));
        }
    };
    let key = key.as_bytes();
    let made = aead::UnboundKey::new(algorithm, &key).map_err(|_| {
        let (need, got) = (algorithm.key_len(), key.len());
        mlua::Error::runtime(format!("{call}: a key of {name} has {need} bytes, not {got}"))
    })?;
    Ok(aead::LessSafeKey::new(made))
}

fn key_pair(call: &str, private: &[u8]) -> mlua::Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(private).map_err(|_| {
        mlua::Error::runtime(format!("{call}: a private key has 32 bytes, not {}", private.len()))
    })
}

fn is_signed(public: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&signature::ED25519, public).verify(bytes, signature).is_ok()
}

/// RFC 8018's PBKDF2. Not ring's, which would hold everybody up until it is done.
async fn pbkdf2(
    lua: Lua,
    (name, password, salt, rounds, length, encoding): (
        String,
        LuaString,
        LuaString,
        u32,
        usize,
        Option<String>,
    ),
) -> mlua::Result<LuaString> {
    let algorithm = hash_of("crypto.pbkdf2", &name)?.hmac;
    let size = algorithm.digest_algorithm().output_len();
    if rounds == 0 || length == 0 || length > 64 * size {
        let words = format!("crypto.pbkdf2: at least one iteration, and 1 to {} bytes", 64 * size);
        return Err(mlua::Error::runtime(words));
    }
    let key = hmac::Key::new(algorithm, &password.as_bytes());
    let mut out = Vec::with_capacity(length + size);
    for block in 1_u32.. {
        if out.len() >= length {
            break;
        }
        let mut first = salt.as_bytes().to_vec();
        first.extend_from_slice(&block.to_be_bytes());
        let mut last = hmac::sign(&key, &first);
        let mut sum = last.as_ref().to_vec();
        for round in 1..rounds {
            last = hmac::sign(&key, last.as_ref());
            sum.iter_mut().zip(last.as_ref()).for_each(|(sum, byte)| *sum ^= byte);
            if round % ROUNDS == 0 {
                turn().await;
            }
        }
        out.extend_from_slice(&sum);
    }
    encoded(&lua, "crypto.pbkdf2", &out[..length], encoding)
}

/// Lets the others run.
async fn turn() {
    let mut had = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut had, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
