//! Words that a loader adds to the command line, for what it alone knows: `lunette.KEY=0xVALUE`.

/// Whether the command line, which ends with NUL or with the buffer, has a word that begins so.
pub fn has(line: &[u8], begin: &str) -> bool {
    line[..end(line)].split(u8::is_ascii_whitespace).any(|word| word.starts_with(begin.as_bytes()))
}

/// Adds ` WORD=0x…` where the command line ends. False: there is no room for it, and the line is as it was.
pub fn append(line: &mut [u8], word: &str, value: u64) -> bool {
    let at = end(line);
    let length = 1 + word.len() + 3 + 16;
    // A NUL stays behind it.
    let Some(place) = line.get_mut(at..at + length + 1) else { return false };
    place[0] = b' ';
    place[1..=word.len()].copy_from_slice(word.as_bytes());
    place[1 + word.len()..][..3].copy_from_slice(b"=0x");
    for (index, digit) in place[4 + word.len()..][..16].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (60 - 4 * index) & 15) as usize];
    }
    place[length] = 0;
    true
}

/// Where it ends.
pub fn end(line: &[u8]) -> usize {
    line.iter().position(|byte| *byte == 0).unwrap_or(line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_added_where_there_is_room() {
        let mut line = *b"lunette.config=disk\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        assert!(has(&line, "lunette.config=") && !has(&line, "config"));
        assert!(append(&mut line, "x", 0x2_0123));
        assert_eq!(line[..], *b"lunette.config=disk x=0x0000000000020123\0\0\0");
        let before = line;
        assert!(!append(&mut line, "x", 1));
        assert_eq!(line, before);
        for length in 0..=22 {
            let mut line = vec![0; length];
            assert_eq!(append(&mut line, "x", u64::MAX), length == 22, "{length}");
        }
        assert!(!append(&mut [b'a'; 100], "x", 1), "no NUL, no room");
    }
}
