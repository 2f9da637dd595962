//! `memcpy`, `memmove`, `memset`, `memcmp` and `bcmp`, in the place of musl's.
//!
//! Most of what an image copies and compares is some dozens of bytes: names, heads of requests, values of some words. musl goes
//! byte by byte to a place that is aligned, and byte by byte at the end; here ends overlap, so that no size is a loop of bytes
//! but for a comparison's last three. Long ones go by SSE, 64 bytes a round: an emulator takes some nanoseconds for each round
//! of `rep movsq`, and a processor is not faster by it until the bytes are more than its caches hold. In between
//! it is fewer instructions.
//!
//! The contracts are the C library's (C17, 7.24), and all five may be asked for zero bytes.

use core::arch::naked_asm;

/// Copies `length` bytes; the two may overlap.
///
/// All of up to 128 bytes is read before any is written. More goes in rounds, towards the side on which nothing is written
/// that is still to be read, until there are no more than 128.
///
/// # Safety
/// `from` has so many bytes to read, `to` so many to write.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "2:",
        "cmp rdx, 32",
        "ja 3f",
        "cmp edx, 16",
        "jb 20f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        "3:",
        "cmp rdx, 128",
        "ja 5f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "cmp edx, 64",
        "jbe 4f",
        "movups xmm4, [rsi + 32]",
        "movups xmm5, [rsi + 48]",
        "movups xmm6, [rsi + rdx - 64]",
        "movups xmm7, [rsi + rdx - 48]",
        "movups [rdi + 32], xmm4",
        "movups [rdi + 48], xmm5",
        "movups [rdi + rdx - 64], xmm6",
        "movups [rdi + rdx - 48], xmm7",
        "4:",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        "5:",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jb 8f",
        // Forwards: the target begins before the source, or behind its end.
        "6:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "add rsi, 64",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + 32], xmm2",
        "movups [rdi + 48], xmm3",
        "add rdi, 64",
        "sub rdx, 64",
        "cmp rdx, 128",
        "ja 6b",
        "jmp 2b",
        // Backwards: the target begins within the source.
        "8:",
        "movups xmm0, [rsi + rdx - 64]",
        "movups xmm1, [rsi + rdx - 48]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi + rdx - 64], xmm0",
        "movups [rdi + rdx - 48], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "sub rdx, 64",
        "cmp rdx, 128",
        "ja 8b",
        "jmp 2b",
        // Fewer than 16: none more often than others.
        "20:",
        "test edx, edx",
        "jz 24f",
        "cmp edx, 8",
        "jb 21f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "21:",
        "cmp edx, 4",
        "jb 22f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "22:",
        "cmp edx, 1",
        "movzx ecx, byte ptr [rsi]",
        "je 23f",
        "movzx r8d, word ptr [rsi + rdx - 2]",
        "mov [rdi + rdx - 2], r8w",
        "23:",
        "mov [rdi], cl",
        "24:",
        "ret",
    )
}

/// From so many bytes on a copy goes by SSE alone.
const LONG: usize = 8192;

/// Copies `length` bytes to where none of them is.
///
/// # Safety
/// [`memmove`]'s, and the two don't overlap.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "lea rcx, [rdx - 129]",
        "cmp rcx, {long} - 129",
        "jae {memmove}",
        "mov rax, rdi",
        "mov r8, [rsi + rdx - 8]",
        "lea r9, [rdi + rdx - 8]",
        "lea rcx, [rdx - 1]",
        "shr ecx, 3",
        "rep movsq",
        "mov [r9], r8",
        "ret",
        memmove = sym memmove,
        long = const LONG,
    )
}

/// Makes all of `length` bytes `byte`.
///
/// # Safety
/// `to` has so many bytes to write.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx esi, sil",
        "mov rcx, 0x0101010101010101",
        "imul rsi, rcx",
        "cmp rdx, 16",
        "jb 20f",
        "movq xmm0, rsi",
        "punpcklqdq xmm0, xmm0",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm0",
        "cmp rdx, 32",
        "ja 3f",
        "ret",
        "3:",
        "movups [rdi + 16], xmm0",
        "movups [rdi + rdx - 32], xmm0",
        "cmp rdx, 64",
        "ja 4f",
        "ret",
        // The last 64 bytes are written once more by the last round, or by what comes behind it.
        "4:",
        "lea rcx, [rdi + rdx - 64]",
        "add rdi, 16",
        "and rdi, -16",
        "cmp rdi, rcx",
        "jae 6f",
        "5:",
        "movaps [rdi], xmm0",
        "movaps [rdi + 16], xmm0",
        "movaps [rdi + 32], xmm0",
        "movaps [rdi + 48], xmm0",
        "add rdi, 64",
        "cmp rdi, rcx",
        "jb 5b",
        "6:",
        "movups [rcx], xmm0",
        "movups [rcx + 16], xmm0",
        "movups [rcx + 32], xmm0",
        "ret",
        // Fewer than 16.
        "20:",
        "cmp edx, 8",
        "jb 21f",
        "mov [rdi], rsi",
        "mov [rdi + rdx - 8], rsi",
        "ret",
        "21:",
        "cmp edx, 4",
        "jb 22f",
        "mov [rdi], esi",
        "mov [rdi + rdx - 4], esi",
        "ret",
        "22:",
        "cmp edx, 1",
        "jb 24f",
        "je 23f",
        "mov [rdi + rdx - 2], si",
        "23:",
        "mov [rdi], sil",
        "24:",
        "ret",
    )
}

/// Negative, zero or positive, as the first byte that differs compares.
///
/// # Safety
/// Both have so many bytes to read.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    naked_asm!(
        "cmp rdx, 8",
        "jb 4f",
        "sub rdx, 8",
        "jz 3f",
        // Eight bytes a round, as long as there are more than eight.
        "xor ecx, ecx",
        "2:",
        "mov rax, [rdi + rcx]",
        "mov r8, [rsi + rcx]",
        "cmp rax, r8",
        "jne 8f",
        "add rcx, 8",
        "cmp rcx, rdx",
        "jb 2b",
        // The last eight: some may have been compared before, and were equal.
        "3:",
        "mov rax, [rdi + rdx]",
        "mov r8, [rsi + rdx]",
        "cmp rax, r8",
        "jne 8f",
        "xor eax, eax",
        "ret",
        "4:",
        "cmp edx, 4",
        "jb 5f",
        "mov eax, [rdi]",
        "mov r8d, [rsi]",
        "cmp eax, r8d",
        "jne 8f",
        "mov eax, [rdi + rdx - 4]",
        "mov r8d, [rsi + rdx - 4]",
        "cmp eax, r8d",
        "jne 8f",
        "xor eax, eax",
        "ret",
        // Fewer than four.
        "5:",
        "xor ecx, ecx",
        "xor eax, eax",
        "6:",
        "cmp ecx, edx",
        "je 7f",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx r8d, byte ptr [rsi + rcx]",
        "inc ecx",
        "sub eax, r8d",
        "je 6b",
        "7:",
        "ret",
        // Words that differ, the lowest byte first; four bytes lie in the upper half once they are turned.
        "8:",
        "bswap rax",
        "bswap r8",
        "cmp rax, r8",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
    )
}

/// The same, where only equal or not is asked.
///
/// # Safety
/// [`memcmp`]'s.
#[unsafe(naked)]
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All sizes that go another way, and some that go two.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..300).chain([511, 512, 520]).chain(LONG - 9..LONG + 9).chain([LONG + 64, LONG + 127, LONG + 128])
    }

    /// No two bytes within 251 are equal.
    fn some(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn copies_all_and_no_more_wherever_the_two_overlap() {
        const ROOM: usize = 3 * LONG;
        for length in lengths() {
            for from in [0, 1, 7, 300] {
                for to in (0..16).chain(292..316).chain([64, 128, 299 + length]) {
                    let overlap = from < to + length && to < from + length;
                    for copy in [memmove, memcpy].into_iter().take(if overlap { 1 } else { 2 }) {
                        let mut bytes = some(ROOM);
                        let mut expected = bytes.clone();
                        expected.copy_within(from..from + length, to);
                        let start = bytes.as_mut_ptr();
                        // SAFETY: both lie within the room.
                        let said = unsafe { copy(start.add(to), start.add(from), length) };
                        assert_eq!(said, start.wrapping_add(to));
                        assert!(bytes == expected, "{length} bytes from {from} to {to}");
                    }
                }
            }
        }
    }

    #[test]
    fn sets_all_and_no_more() {
        for length in lengths() {
            for to in 0..32 {
                let mut bytes = some(LONG + 400);
                let mut expected = bytes.clone();
                expected[to..to + length].fill(0xa5);
                let start = bytes.as_mut_ptr();
                // SAFETY: it lies within the room. Only the lowest byte of what is said counts.
                let said = unsafe { memset(start.add(to), 0x7fa5, length) };
                assert_eq!(said, start.wrapping_add(to));
                assert!(bytes == expected, "{length} bytes at {to}");
            }
        }
    }

    #[test]
    fn compares_by_the_first_byte_that_differs() {
        for length in lengths() {
            let one = some(length);
            // SAFETY: both have that length.
            let compare = |a: &[u8], b: &[u8]| unsafe {
                assert_eq!(bcmp(a.as_ptr(), b.as_ptr(), length) == 0, a == b);
                memcmp(a.as_ptr(), b.as_ptr(), length)
            };
            assert_eq!(compare(&one, &one.clone()), 0);
            for at in (0..length).step_by(1 + length / 400) {
                for (less, more) in [(0, 1), (0x7f, 0x80), (1, 0xff)] {
                    let (mut a, mut b) = (one.clone(), one.clone());
                    (a[at], b[at]) = (less, more);
                    // What comes later doesn't count.
                    if let (Some(a), Some(b)) = (a.get_mut(at + 1), b.get_mut(at + 1)) {
                        (*a, *b) = (9, 3);
                    }
                    assert!(compare(&a, &b) < 0, "{length} bytes, at {at}");
                    assert!(compare(&b, &a) > 0, "{length} bytes, at {at}");
                }
            }
        }
    }
}
