//! Any bytes as a payload, a bundle, a manifest, a launch and a grant: an answer or an error, never a panic; and what
//! was accepted keeps the format's promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lunette_bundle::{Bundle, Kind, Launch, Manifest, Payload};
use lunette_hostcalls::grants::{Listen, Name, Peer};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(payload) = Payload::parse(bytes)
        && let Ok(plan) = payload.plan()
    {
        for guest in plan.all() {
            let _ = payload.main(guest);
            if let Ok(Some(native)) = payload.native(guest) {
                assert!((native.code.as_ptr() as usize - bytes.as_ptr() as usize).is_multiple_of(4096));
            }
            assert!(!guest.args.is_empty());
            for mount in &guest.mounts {
                assert!(guest.mounts.iter().filter(|other| other.path == mount.path).count() == 1);
            }
            assert!(plan.all().filter(|other| other.name == guest.name).count() == 1);
        }
    }
    if let Ok(bundle) = Bundle::parse(bytes) {
        let _ = bundle.verify_hash();
        for entry in bundle.entries() {
            assert!(!entry.path.starts_with('/') && !entry.path.split('/').any(|part| part == ".." || part.is_empty()));
            if let Kind::File(data) = entry.kind {
                // In place: part of what was read, not a copy.
                assert!(data.is_empty() || bytes.as_ptr_range().contains(&data.as_ptr()));
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(manifest) = Manifest::parse(text) {
            assert_eq!(Manifest::parse(&manifest.to_toml()), Ok(manifest));
        }
        if let Ok(listen) = text.parse::<Listen>() {
            assert_eq!(listen.to_string().parse(), Ok(listen));
        }
        if let Ok(peer) = text.parse::<Peer>() {
            assert_eq!(peer.to_string().parse(), Ok(peer));
        }
        if let Ok(name) = text.parse::<Name>() {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        if let Ok(launch) = Launch::parse(text) {
            assert_eq!(Launch::parse(&launch.to_toml()), Ok(launch));
        }
    }
});
