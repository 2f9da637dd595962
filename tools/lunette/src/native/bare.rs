//! A program without its debug information: a profile needs names, and would read all of the rest for each function of each sample.
//!
//! Promises: nothing goes but custom sections that are called `.debug_…`, those of modules inside of components too; what is
//! not understood stays as it is. Does not: validate.

use std::borrow::Cow;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// How deep components may lie in each other and still be looked into.
const DEEPEST: u32 = 16;

pub(super) fn without_debug(wasm: &[u8]) -> Cow<'_, [u8]> {
    strip(wasm, 0).map_or(Cow::Borrowed(wasm), Cow::Owned)
}

/// `None`: there is none, or it can't be told.
fn strip(wasm: &[u8], depth: u32) -> Option<Vec<u8>> {
    let (header, mut rest) = wasm.split_at_checked(MODULE.len())?;
    // The sections of a component that are modules and components themselves.
    let nested: &[u8] = match header {
        MODULE => &[],
        COMPONENT if depth < DEEPEST => &[1, 4],
        _ => return None,
    };
    let (mut out, mut found) = (header.to_vec(), false);
    while let Some((id, after)) = rest.split_first() {
        let (size, after) = number(after)?;
        let (content, next) = after.split_at_checked(size)?;
        rest = next;
        if *id == 0 && is_debug(content) {
            found = true;
            continue;
        }
        let inner = if nested.contains(id) { strip(content, depth + 1) } else { None };
        found |= inner.is_some();
        let content = inner.as_deref().unwrap_or(content);
        out.push(*id);
        put_number(&mut out, content.len());
        out.extend_from_slice(content);
    }
    found.then_some(out)
}

fn is_debug(custom: &[u8]) -> bool {
    number(custom)
        .and_then(|(length, rest)| rest.get(..length))
        .is_some_and(|name| name.starts_with(b".debug_"))
}

/// LEB128, 32 bits.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[at + 1..]));
        }
    }
    None
}

fn put_number(out: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A section; its length in as many bytes as it needs.
    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![id];
        put_number(&mut out, content.len());
        [out, content.to_vec()].concat()
    }

    fn custom(name: &str, length: usize) -> Vec<u8> {
        section(0, &[&[name.len() as u8], name.as_bytes(), &vec![7; length]].concat())
    }

    #[test]
    fn debug_information_goes_and_all_else_stays() {
        let code = section(10, &[1; 200]);
        let bare = [MODULE, &code, &custom("name", 300)].concat();
        let whole =
            [MODULE, &custom(".debug_line", 70_000), &code, &custom("name", 300), &custom(".debug_info", 9)];
        let whole = whole.concat();
        assert_eq!(*without_debug(&whole), *bare);
        assert!(matches!(without_debug(&bare), Cow::Borrowed(same) if same == bare));
        // In a component, and in one within.
        let inside = |module: &[u8]| {
            let inner = [COMPONENT, &section(1, module), &custom("name", 5)].concat();
            [COMPONENT, &section(4, &inner), &section(1, module), &section(3, module)].concat()
        };
        let stripped = without_debug(&inside(&whole)).into_owned();
        let mut wanted = inside(&bare);
        // What only looks like a module is none.
        let end = section(3, &bare).len();
        wanted.truncate(wanted.len() - end);
        wanted.extend(section(3, &whole));
        assert!(stripped == wanted);
    }

    #[test]
    fn what_is_not_understood_stays() {
        let whole = [MODULE, &custom(".debug_line", 300)].concat();
        for length in 0..whole.len() {
            let _ = without_debug(&whole[..length]);
        }
        for bytes in [&b""[..], b"\0asm", b"text", &whole[..whole.len() - 1]] {
            assert!(matches!(without_debug(bytes), Cow::Borrowed(same) if same == bytes));
        }
        let endless = [MODULE, &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
        assert_eq!(*without_debug(&endless), *endless);
    }
}
