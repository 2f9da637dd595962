//! Names for addresses: the table that `cargo xtask image` writes into the image after linking.
//!
//! Format, little-endian: "LSYM", u32 count, u32 bytes of names, then `count` pairs of u32 (address as an
//! offset from the image's base at 1 MiB, offset into the names) sorted by address, then the names, each
//! ended by NUL. An image without a table (zeros) has no names.

/// A view of a table. All reads are checked: a damaged table gives no names, never a second fault.
pub struct Symbols<'a> {
    pairs: &'a [u8],
    names: &'a [u8],
}

impl<'a> Symbols<'a> {
    pub fn parse(table: &'a [u8]) -> Option<Self> {
        let rest = table.strip_prefix(b"LSYM")?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (names_len, rest) = rest.split_first_chunk::<4>()?;
        let (pairs, rest) = rest.split_at_checked((u32::from_le_bytes(*count) as usize).checked_mul(8)?)?;
        Some(Self { pairs, names: rest.get(..u32::from_le_bytes(*names_len) as usize)? })
    }

    fn pair(&self, i: usize) -> Option<(u32, u32)> {
        let pair = self.pairs.get(i * 8..i * 8 + 8)?;
        let (a, b) = pair.split_first_chunk::<4>()?;
        Some((u32::from_le_bytes(*a), u32::from_le_bytes(*b.first_chunk()?)))
    }

    /// The function that holds the byte at `offset` from the image's base, and how far into it that is.
    pub fn find(&self, offset: u32) -> Option<(&'a str, u32)> {
        let (mut low, mut high) = (0, self.pairs.len() / 8);
        while low < high {
            let middle = (low + high) / 2;
            if self.pair(middle)?.0 <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (start, name) = self.pair(low.checked_sub(1)?)?;
        let name = self.names.get(name as usize..)?;
        let end = name.iter().position(|&b| b == 0)?;
        Some((core::str::from_utf8(&name[..end]).ok()?, offset - start))
    }
}

#[cfg(test)]
mod tests {
    use super::Symbols;

    fn table() -> Vec<u8> {
        let mut t = b"LSYM".to_vec();
        for word in [2u32, 10, 0x10, 0, 0x40, 6] {
            t.extend(word.to_le_bytes());
        }
        t.extend(b"first\0abc\0");
        t
    }

    #[test]
    fn finds_the_function_around_an_address() {
        let table = table();
        let symbols = Symbols::parse(&table).expect("a good table");
        assert_eq!(symbols.find(0x0f), None);
        assert_eq!(symbols.find(0x10), Some(("first", 0)));
        assert_eq!(symbols.find(0x3f), Some(("first", 0x2f)));
        assert_eq!(symbols.find(0xffff_ffff), Some(("abc", 0xffff_ffbf)));
    }

    #[test]
    fn a_damaged_table_gives_no_names() {
        let good = table();
        for cut in 0..good.len() {
            assert!(Symbols::parse(&good[..cut]).is_none());
        }
        assert!(Symbols::parse(&[0; 64]).is_none());
        let mut wild = good;
        wild[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Symbols::parse(&wild).and_then(|s| s.find(0x10)), None);
    }
}
