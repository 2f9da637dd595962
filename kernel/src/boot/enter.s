# From 32-bit protected mode to 64-bit Rust, whatever the door was: builds the page tables, enters long mode, calls
# what `boot_door` points to with what the door was handed.
#
# In: EBP = what the loader handed over, EDI:ESI = the time stamp counter at the first instruction; interrupts and
# paging off, segments flat.
#
# Virtual = physical for everything below 4 GiB. Up to the end of the image there are 4 KiB pages, so that each
# part of it has just the rights it needs (page 0 none, once what the loader said has been read); the rest by 2 MiB pages that
# nobody may execute, and above 3 GiB (where devices are) nobody may cache.

.set PRESENT, 1
.set WRITE, 2
.set LARGE, 0x80
.set UNCACHED, 0x18                     # PWT | PCD
.set NX, 0x80000000                     # bit 63, in the upper half of an entry
.set TABLES, 16                         # room for page tables of 2 MiB each: 32 MiB

# Page directories for 4 GiB, made by the assembler: no instruction at boot.
.section .data.boot_tables, "aw", @progbits
    .balign 4096
boot_pd:
    .set i, 0
    .rept 1536
    .quad (i * 0x200000) | PRESENT | WRITE | LARGE | (1 << 63)
    .set i, i + 1
    .endr
    .rept 512
    .quad (i * 0x200000) | PRESENT | WRITE | LARGE | UNCACHED | (1 << 63)
    .set i, i + 1
    .endr
boot_pdpt:
    .quad boot_pd + PRESENT + WRITE
    .quad boot_pd + 0x1000 + PRESENT + WRITE
    .quad boot_pd + 0x2000 + PRESENT + WRITE
    .quad boot_pd + 0x3000 + PRESENT + WRITE
    .fill 508, 8, 0
.global boot_pml4
boot_pml4:
    .quad boot_pdpt + PRESENT + WRITE
    .fill 511, 8, 0

.section .bss.pages.boot, "aw", @nobits
    .balign 4096
.global boot_pt
boot_pt:
    .skip TABLES * 4096
.global boot_stack_guard
boot_stack_guard:
    .skip 4096
    .skip 32768
.global boot_stack_top
boot_stack_top:

.section .boot32, "ax", @progbits
.code32
.global boot_enter
boot_enter:
    # Page tables: from the page at ECX, up to EDX, with EAX's flags, and the upper half in EBX. Eight pages at a time, for
    # an image has thousands: single ones until what is left is a multiple.
.macro page at, flags
    lea eax, [ecx + \flags + \at * 4096]
    mov [esp + \at * 8], eax
    mov [esp + \at * 8 + 4], ebx
.endm
.macro pages end, flags, high
    mov edx, \end
    mov ebx, \high
2:  mov eax, edx
    sub eax, ecx
    test eax, 0x7000
    jz 3f
    page 0, (\flags)
    add esp, 8
    add ecx, 4096
    jmp 2b
3:  cmp ecx, edx
    jae 4f
    .irp at, 0, 1, 2, 3, 4, 5, 6, 7
    page \at, (\flags)
    .endr
    add esp, 64
    add ecx, 8 * 4096
    jmp 3b
4:
.endm
    mov esp, offset boot_pt
    xor ecx, ecx                        # page 0 too: SeaBIOS leaves parts of PVH's start info there
    pages "offset image_start", (PRESENT | WRITE), NX
    pages "offset text_end",    PRESENT, 0
    pages "offset rodata_end",  PRESENT, NX
    pages "offset image_tables_end", (PRESENT | WRITE), NX

    # Their directory entries, in place of those of 2 MiB pages.
    mov eax, offset boot_pt + PRESENT + WRITE
    mov ecx, offset boot_pd
2:  mov [ecx], eax
    mov dword ptr [ecx + 4], 0
    add ecx, 8
    add eax, 4096
    lea edx, [esp + PRESENT + WRITE]
    cmp eax, edx
    jb 2b

    mov esp, offset boot_stack_top
    mov eax, 0x6a0                      # CR4: PAE, PGE, OSFXSR, OSXMMEXCPT; no OSXSAVE: FXSAVE is enough
    mov cr4, eax                        # before EFER: QEMU's SVM loses its host's CR0 at an exit with LME and no PAE
    mov ecx, 0xc0000080                 # EFER: SYSCALL, long mode, no-execute
    rdmsr
    or eax, 0x901
    wrmsr
    mov eax, offset boot_pml4
    mov cr3, eax
    mov eax, 0x80010033                 # CR0: PG, WP, NE, ET, MP, PE; EM and TS clear
    mov cr0, eax
    lgdt [boot_gdtr]
    mov eax, offset long_mode
    push 8
    push eax
    retf

    .balign 8
.global boot_gdtr
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 8: 64-bit code
    .quad 0x00cf93000000ffff            # 16: data
    .quad 0x00cf9b000000ffff            # 24: 32-bit code, for who comes in 64-bit mode
boot_gdtr:
    .word 31
    .quad boot_gdt                      # of which 32-bit mode reads half

.code64
long_mode:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov rsp, offset boot_stack_top
    fninit
    mov dword ptr [rsp - 8], 0x1f80
    ldmxcsr [rsp - 8]
    mov eax, esi
    mov edx, edi
    shl rdx, 32
    or rdx, rax
    mov rsi, rdx                        # second argument: TSC at entry
    mov edi, ebp                        # first: what the loader handed over
    xor ebp, ebp
    call [boot_door]
    ud2

# Who reads what was handed over: `extern "C" fn(handed: u64, entry_tsc: u64) -> !`.
.section .data.boot_door, "aw", @progbits
    .balign 8
.global boot_door
boot_door:
    .quad {pvh}
