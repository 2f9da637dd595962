//! What each file in `target/image/` ends with: eight bytes that say so, and the SHA-256 of all before. The command line
//! refuses a file whose seal does not fit (tools/releases/src/seal.rs).

use sha2::{Digest, Sha256};

const MARK: &[u8; 8] = b"LunSeal\n";

/// Ends a file with its seal.
pub(crate) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::digest(&bytes);
    bytes.extend(MARK);
    bytes.extend(sum);
    bytes
}
