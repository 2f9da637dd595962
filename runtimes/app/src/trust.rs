//! Whose apps may run here: the keys of those who must have signed them.
//!
//! Promises: without keys nothing is looked at, and nothing is refused; with keys, nothing of a payload but the names that
//! find the bundle's end is used before its signature was checked, and a key that can't be read refuses all. Who names keys twice
//! (in the image and on its command line) narrows, and never widens. Does not: sign what a launch adds (arguments, environment,
//! grants): that is the word of whoever starts the machine.

use lunette_bundle::{HELP, Payload, Source};
use lunette_signature::{self as signature, PublicKey};

use crate::Refusal;

/// Nobody in particular, unless keys are demanded.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    demands: Vec<Demand>,
}

#[derive(Clone, Debug)]
struct Demand {
    whence: &'static str,
    keys: Vec<PublicKey>,
}

impl Trust {
    /// Demands one of these keys, if there is any; `whence` they come is named with a bad one. To be called once for each
    /// source.
    pub fn demand<'k>(
        &mut self,
        whence: &'static str,
        keys: impl IntoIterator<Item = &'k [u8]>,
    ) -> Result<(), Refusal> {
        let key = |text| {
            PublicKey::parse(text).map_err(|fault| {
                let text = String::from_utf8_lossy(text).escape_debug().to_string();
                Refusal(format!(
                    "{text:?} {fault} ({whence}){HELP}give the 56 characters that `minisign -G` or `lunette sign --new-key` \
                     prints, or leave it out to trust everybody"
                ))
            })
        };
        let keys = keys.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if !keys.is_empty() {
            self.demands.push(Demand { whence, keys });
        }
        Ok(())
    }

    pub(crate) fn is_limited(&self) -> bool {
        !self.demands.is_empty()
    }

    /// Refuses an app that none of the demanded keys has signed.
    pub(crate) fn check(&self, payload: &Payload<'_>) -> Result<(), Refusal> {
        for Demand { whence, keys } in &self.demands {
            let refused = |what: &str, help: &str| Err(Refusal(format!("{what} ({whence}){HELP}{help}")));
            let Source::Bundle(bundle) = &payload.source else {
                let what =
                    "the app is a bare module, which nobody can sign, and this machine demands a signature";
                return refused(
                    what,
                    "make it a bundle with `lunette build`, and sign that with `lunette sign`",
                );
            };
            let Some(signature) = payload.signature else {
                let what = "the bundle is not signed, which this machine demands";
                let help = "sign it with `lunette sign`, and keep its .minisig beside it";
                return refused(what, help);
            };
            if let Err(fault) = signature::verify(signature, bundle.bytes(), keys) {
                let numbers: Vec<_> = keys.iter().map(|key| key.number().to_string()).collect();
                let help = format!(
                    "get bundle and signature again from its maker; trusted here: {}",
                    numbers.join(", ")
                );
                return refused(&format!("the bundle {fault}"), &help);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use lunette_bundle::{Launch, Writer, attached};
    use minisign::KeyPair;

    use super::*;

    const TOML: &str = "[app]\nmain = \"app.wasm\"\n";

    fn bundle() -> Vec<u8> {
        let mut writer = Writer::new(TOML.as_bytes());
        writer.file("app.wasm", &b"\0asm\x01\0\0\0"[..]).unwrap();
        writer.file("large", vec![7; 5000]).unwrap();
        writer.to_bytes()
    }

    fn sign(pair: &KeyPair, bytes: &[u8]) -> Vec<u8> {
        let signed = minisign::sign(None, &pair.sk, Cursor::new(bytes), Some("trusted"), Some("free"));
        signed.unwrap().into_string().into_bytes()
    }

    fn pair() -> (KeyPair, String) {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let key = pair.pk.to_base64();
        (pair, key)
    }

    fn trust(sources: &[&[&str]]) -> Trust {
        let mut trust = Trust::default();
        for keys in sources {
            trust.demand("here", keys.iter().map(|key| key.as_bytes())).unwrap();
        }
        trust
    }

    fn check(trust: &Trust, payload: &[u8]) -> Result<(), String> {
        let payload = Payload::parse(payload).map_err(|e| e.to_string())?;
        trust.check(&payload).map_err(|refusal| refusal.0)
    }

    #[test]
    fn who_demands_nothing_gets_all_and_who_demands_a_key_what_it_signed() {
        let ((signer, key), (_, other)) = (pair(), pair());
        let bundle = bundle();
        let launch = Launch { args: Some(vec!["x".into()]), ..Launch::default() };
        let signed = [bundle.clone(), attached(&sign(&signer, &bundle)), launch.to_bytes()].concat();
        assert_eq!(Payload::parse(&signed).unwrap().plan().unwrap().app.args[1], "x");
        for (sources, verdict) in [
            (&[][..], ""),
            (&[&[][..]], ""),
            (&[&[&*key]], ""),
            (&[&[&*other, &key]], ""),
            (&[&[&*key], &[&*key]], ""),
            (&[&[&*other]], "is signed by key"),
            // The second source narrows what the first says.
            (&[&[&*key], &[&*other]], "is signed by key"),
            (&[&[&*other], &[&*key]], "is signed by key"),
        ] {
            let verdict_is = check(&trust(sources), &signed);
            match verdict {
                "" => assert_eq!(verdict_is, Ok(()), "{sources:?}"),
                what => assert!(verdict_is.as_ref().is_err_and(|e| e.contains(what)), "{verdict_is:?}"),
            }
        }
        let demanding = trust(&[&[&key]]);
        let e = check(&demanding, &bundle).unwrap_err();
        assert!(e.contains("is not signed") && e.contains("; help: "), "{e}");
        assert!(check(&demanding, b"\0asm\x01\0\0\0").unwrap_err().contains("bare module"));
    }

    #[test]
    fn a_byte_that_is_not_the_makers_is_seen_wherever_it_is() {
        let (signer, key) = pair();
        let (bundle, trust) = (bundle(), trust(&[&[&key]]));
        let signature = sign(&signer, &bundle);
        let whole = [bundle.clone(), attached(&signature)].concat();
        assert_eq!(check(&trust, &whole), Ok(()));
        let free = b"untrusted comment:".len()..signature.iter().position(|&b| b == b'\n').unwrap();
        // The header's own block, then the signature.
        let text = bundle.len() + 512;
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            let fine = (text..text + signature.len()).contains(&at)
                && (free.contains(&(at - text)) || at + 1 == text + signature.len());
            // In the tar around a signature some bytes have no meaning: nothing is done by them.
            let around = at >= bundle.len() && !(text..text + signature.len()).contains(&at);
            match check(&trust, &changed) {
                Ok(()) => assert!(fine || around, "{at} of {} is not seen", whole.len()),
                Err(e) => assert!(e.contains("; help: "), "{at}: {e}"),
            }
        }
    }

    #[test]
    fn a_key_that_is_none_refuses_all() {
        for bad in [&b""[..], b"RW", b"\xff", b"RWQnonsense"] {
            let refusal = Trust::default().demand("lunette.trust", [bad]).unwrap_err();
            assert!(refusal.0.contains("(lunette.trust)") && refusal.0.contains("; help: "), "{}", refusal.0);
        }
    }
}
