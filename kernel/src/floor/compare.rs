//! `memcmp` and `bcmp`, eight bytes at a time: musl's go byte by byte, and names are compared at every boot.

/// The C library's own contract: both have `length` bytes; negative, zero or positive as they compare.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut at = 0;
    // SAFETY: all that is read lies before `length`, which the caller says that both have.
    unsafe {
        while at + 8 <= length {
            let words = [a, b].map(|bytes| u64::from_be_bytes(bytes.add(at).cast::<[u8; 8]>().read()));
            if words[0] != words[1] {
                return if words[0] < words[1] { -1 } else { 1 };
            }
            at += 8;
        }
        while at < length {
            let difference = i32::from(a.add(at).read()) - i32::from(b.add(at).read());
            if difference != 0 {
                return difference;
            }
            at += 1;
        }
    }
    0
}

/// The same, where only equal or not is asked.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(a, b, length) }
}
