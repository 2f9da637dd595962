//! Keys in an image's file: whose apps alone it runs, wherever it boots (kernel/image has the room, in a note).
//!
//! Promises: nothing but that room changes; what is in it already is replaced. Does not: protect the image itself: who can write
//! to it can take the keys out. That is for the firmware (Secure Boot), or for whoever stores it.

use lunette_releases::seal;
use lunette_signature::PublicKey;
use object::{
    Endianness,
    elf::FileHeader64,
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use crate::problem::Problem;

/// Whose note it is, and its type.
const NOTE: (&[u8], u32) = (b"Lunette", 2);

/// Puts the keys into the image, and seals it anew.
pub fn put(image: &mut Vec<u8>, keys: &[PublicKey]) -> Result<(), Problem> {
    image.truncate(image.len().saturating_sub(seal::LENGTH));
    let Some((at, room)) = room(image) else {
        let what = "the image has no room for keys: it is of another release than this command";
        return Err(Problem::new(what, "take the image that came with it, or `cargo xtask image`"));
    };
    let text = keys.iter().map(PublicKey::to_string).collect::<Vec<_>>().join(" ");
    if text.len() >= room {
        let most = room / 57;
        let what = format!("an image has room for {most} keys, and these are {}", keys.len());
        return Err(Problem::new(what, "name fewer"));
    }
    let room = &mut image[at..at + room];
    room.fill(0);
    room[..text.len()].copy_from_slice(text.as_bytes());
    *image = seal::seal(std::mem::take(image));
    Ok(())
}

/// The keys in an image, as they stand.
pub fn get(image: &[u8]) -> Option<String> {
    let (at, room) = room(image)?;
    let text = image[at..at + room].split(|&byte| byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Where the room is, and its size.
fn room(image: &[u8]) -> Option<(usize, usize)> {
    let header = FileHeader64::<Endianness>::parse(image).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, image).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, image) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if (note.name(), note.n_type(endian)) == NOTE {
                let at = note.desc().as_ptr().addr().checked_sub(image.as_ptr().addr())?;
                return Some((at, note.desc().len()));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_has_no_room() {
        for mut bytes in [Vec::new(), b"\x7fELF".to_vec(), vec![0; 4096]] {
            assert_eq!(get(&bytes), None);
            assert!(put(&mut bytes, &[]).unwrap_err().what.contains("no room"));
        }
    }
}
