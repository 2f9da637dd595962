//! The last steps, from a page that nothing is moved to, with page tables of our own: the firmware's may lie where the kernel
//! goes, and so may we.

use core::ops::Range;

use crate::firmware::allocate;

core::arch::global_asm!(
    // In: RDI = the list of moves, RSI = boot_params, RDX = the kernel's entry, RCX = page tables, R8 = the stack's top.
    // Position-independent: it is copied.
    ".global leave_code",
    "leave_code:",
    "cli",
    "cld",
    "mov rax, cr4",
    "and rax, ~(1 << 23)", // CET, whose second stack would miss the far return
    "mov cr4, rax",
    "mov cr3, rcx",
    "mov rsp, r8",
    "mov r9, rsi",
    "mov r10, rdx",
    "mov rbx, rdi",
    "2: mov rdi, [rbx]",
    "test rdi, rdi",
    "jz 5f",
    "mov rsi, [rbx + 8]",
    "mov rcx, [rbx + 16]",
    "mov edx, ecx",
    "and edx, 7",
    "shr rcx, 3",
    "test rsi, rsi",
    "jz 3f",
    "rep movsq",
    "mov ecx, edx",
    "rep movsb",
    "jmp 4f",
    "3: xor eax, eax",
    "rep stosq",
    "mov ecx, edx",
    "rep stosb",
    "4: add rbx, 24",
    "jmp 2b",
    "5: mov rsi, r9",
    "jmp r10",
    ".global leave_code_end",
    "leave_code_end:",
);

unsafe extern "C" {
    static leave_code: u8;
    static leave_code_end: u8;
}

const PAGE: usize = 4096;
/// Pages: tables (one more for five levels), the code, the list, the stack.
const TABLES: usize = 7;
const CODE: usize = TABLES * PAGE;
const LIST: usize = CODE + PAGE;
const STACK: usize = LIST + PAGE;
const BYTES: usize = STACK + PAGE;
const PRESENT_WRITE: u64 = 3;
const LARGE: u64 = 0x80;

/// Bytes to be moved; from 0: zeros.
pub(crate) struct Move {
    pub(crate) to: u64,
    pub(crate) from: u64,
    pub(crate) length: u64,
}

/// What is needed when the firmware is gone.
pub(crate) struct Leave {
    memory: &'static mut [u8],
    moves: usize,
}

impl Leave {
    pub(crate) fn new(kernel: &Range<u64>) -> Self {
        let memory = allocate("the loader's last page", BYTES as u64, kernel);
        let base = memory.as_ptr().addr() as u64;
        let mut put = |page: usize, index: usize, value: u64| {
            memory[page * PAGE + index * 8..][..8].copy_from_slice(&value.to_le_bytes());
        };
        // Page 0 for five levels, 1 for four, 2 has four directories, which have 4 GiB by 2 MiB.
        let table = |page: usize| base + (page * PAGE) as u64 + PRESENT_WRITE;
        put(0, 0, table(1));
        put(1, 0, table(2));
        for directory in 0..4 {
            put(2, directory, table(3 + directory));
            for entry in 0..512 {
                let at = ((directory * 512 + entry) as u64) << 21;
                put(3 + directory, entry, at | LARGE | PRESENT_WRITE);
            }
        }
        let code = (&raw const leave_code, &raw const leave_code_end);
        // SAFETY: between two labels of our own code.
        let code = unsafe { core::slice::from_raw_parts(code.0, code.1.addr() - code.0.addr()) };
        memory[CODE..CODE + code.len()].copy_from_slice(code);
        Self { memory, moves: 0 }
    }

    /// One more; an entry of zeros stays behind the last.
    pub(crate) fn push(&mut self, next: Move) {
        let at = LIST + self.moves * 24;
        for (index, word) in [next.to, next.from, next.length].into_iter().enumerate() {
            self.memory[at + index * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
        self.moves += 1;
    }

    /// Moves all to its place, and enters the kernel.
    ///
    /// # Safety
    /// The firmware is gone; nothing that is still needed lies where something is moved to.
    pub(crate) unsafe fn go(self, entry: u64, params: u64) -> ! {
        let base = self.memory.as_ptr().addr() as u64;
        let five_levels = {
            let cr4: u64;
            // SAFETY: reading it has no effect.
            unsafe { core::arch::asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack)) };
            cr4 & 1 << 12 != 0
        };
        let tables = if five_levels { base } else { base + PAGE as u64 };
        // SAFETY: the caller's; the copied code is below 4 GiB, which the tables map.
        unsafe {
            core::arch::asm!(
                "cli",
                "jmp {code}",
                code = in(reg) base + CODE as u64,
                in("rdi") base + LIST as u64,
                in("rsi") params,
                in("rdx") entry,
                in("rcx") tables,
                in("r8") base + BYTES as u64,
                options(noreturn)
            )
        }
    }
}
