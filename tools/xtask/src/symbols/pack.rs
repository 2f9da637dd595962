//! The compression that kernel/src/cold/lzma.rs undoes in the kernel, and here: what is packed has to come back.

use std::io::Write as _;

use lzma_rust2::{LzmaOptions, LzmaWriter};

use crate::sh::Result;

#[path = "../../../../kernel/src/cold/lzma.rs"]
mod lzma;

/// A stream of which the kernel makes these bytes.
pub(super) fn pack(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut options = LzmaOptions::with_preset(9);
    (options.lc, options.lp, options.pb) = (3, 0, 2);
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false)?;
    writer.write_all(bytes)?;
    let stream = writer.finish()?;
    if unpack(&stream, bytes.len()).as_deref() != Some(bytes) {
        return Err("what is packed does not come back".into());
    }
    Ok(stream)
}

/// As the kernel does it.
pub(super) fn unpack(stream: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    lzma::decode(&mut lzma::Model::new(), stream, &mut bytes)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of all kinds: runs, copies from near and far, and noise.
    fn mixed(length: usize) -> Vec<u8> {
        let (mut bytes, mut noise) = (Vec::new(), 1_u64);
        while bytes.len() < length {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (kind, count, back) = (noise >> 62, (noise >> 40) as usize % 300, (noise >> 20) as usize);
            let from = bytes.len() - back % bytes.len().max(1);
            match kind {
                0 => bytes.extend((0..count % 20).map(|at| (noise >> (at % 8 * 8)) as u8)),
                1 => bytes.extend(std::iter::repeat_n(noise as u8, count)),
                _ => (0..count).for_each(|at| bytes.push(bytes.get(from + at).copied().unwrap_or(0))),
            }
        }
        bytes
    }

    #[test]
    fn what_is_packed_comes_back() {
        for length in [0, 1, 2, 3, 100, 4096, 300_000] {
            let bytes = mixed(length);
            assert!(pack(&bytes).is_ok(), "{length}");
        }
        assert!(pack(&vec![7; 1 << 20]).unwrap().len() < 400);
    }

    #[test]
    fn damage_is_never_out_of_bounds() {
        let bytes = mixed(20_000);
        let stream = pack(&bytes).unwrap();
        for cut in [0, 1, 4, 5, stream.len() / 2, stream.len() - 8] {
            assert_eq!(unpack(&stream[..cut], bytes.len()), None, "{cut}");
        }
        for at in (0..stream.len()).step_by(37) {
            let mut damaged = stream.clone();
            damaged[at] ^= 0x41;
            assert_ne!(unpack(&damaged, bytes.len()).as_deref(), Some(&bytes[..]), "{at}");
        }
    }
}
