# From real mode to Rust in long mode, and back for every call of the BIOS. Everything is below 64 KiB, where all modes
# have the same addresses. DL = the drive.

.set TABLES, 0x18000                    # a PML4, a directory of four, four directories: 4 GiB by pages of 2 MiB

.section .start, "ax", @progbits
.code16
.global bios_start
bios_start:
    movzx edx, dl
    mov [bios_drive], edx
    mov ax, 0x2401                      # A20: by the BIOS, and by the port that chipsets have
    int 0x15
    in al, 0x92
    or al, 2
    and al, 0xfe
    out 0x92, al

    mov eax, 0x80000000                 # is there a long mode?
    cpuid
    cmp eax, 0x80000001
    jb 1f
    mov eax, 0x80000001
    cpuid
    test edx, 1 << 29
    jnz 2f
1:  mov si, offset bios_old
    call mbr_say
3:  hlt
    jmp 3b
bios_old:
    .asciz "lunette: farewell refused this processor has no 64-bit mode\r\n"

2:  mov ax, TABLES >> 4
    mov es, ax
    xor edi, edi
    xor eax, eax
    mov ecx, 6 * 1024
    rep stosd
    mov dword ptr es:[0], TABLES + 0x1003
    mov edi, 0x1000
    mov eax, TABLES + 0x2003
4:  mov es:[di], eax
    add eax, 0x1000
    add di, 8
    cmp di, 0x1020
    jb 4b
    mov edi, 0x2000
    mov eax, 0x83
5:  mov es:[di], eax
    add eax, 0x200000
    add di, 8
    cmp di, 0x6000
    jb 5b
    xor ax, ax
    mov es, ax
    mov esp, 0x7c00
    mov dword ptr [bios_next], offset bios_rust
    jmp bios_enter

# Real mode to long mode, to where `bios_next` points.
bios_enter:
    cli
    lgdt [bios_gdtr]
    mov eax, cr0
    or eax, 1
    mov cr0, eax
    .byte 0xea
    .short bios_protected, 40
.code32
bios_protected:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, 0x20                       # PAE
    mov cr4, eax
    mov eax, TABLES
    mov cr3, eax
    mov ecx, 0xc0000080                 # EFER: long mode
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    .byte 0xea
    .long bios_long
    .short 8
.code64
bios_long:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, esp
    mov eax, [bios_next]
    jmp rax

bios_rust:
    mov edi, [bios_drive]
    call {main}
    ud2

# `extern "C" fn(&mut Registers, interrupt: u8)`, for registers below 64 KiB: the BIOS's service, in real mode.
.global bios_call
bios_call:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [bios_registers], edi
    mov [bios_number], sil
    mov dword ptr [bios_next], offset bios_back
    push 24
    lea rax, [rip + bios_narrow]
    push rax
    retfq
.code16
bios_narrow:                            # compatibility mode, 16-bit code
    mov ax, 32
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov eax, cr0
    and eax, 0x7fffffff
    mov cr0, eax
    mov ecx, 0xc0000080
    rdmsr
    and eax, 0xfffffeff
    wrmsr
    mov eax, cr0
    and eax, 0x7ffffffe
    mov cr0, eax
    .byte 0xea
    .short bios_real, 0
bios_real:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov fs, ax
    mov gs, ax
    lidt [bios_idtr]
    mov bx, [bios_registers]
    mov es, [bx + 28]
    mov eax, [bx]
    mov ecx, [bx + 8]
    mov edx, [bx + 12]
    mov esi, [bx + 16]
    mov edi, [bx + 20]
    mov ebx, [bx + 4]
    sti
    .byte 0xcd                          # int
bios_number:
    .byte 0
    cli
    push 0
    pop ds
    push ebx
    pushfd
    mov bx, [bios_registers]
    mov [bx], eax
    mov [bx + 8], ecx
    mov [bx + 12], edx
    mov [bx + 16], esi
    mov [bx + 20], edi
    pop dword ptr [bx + 24]
    pop dword ptr [bx + 4]
    cld
    jmp bios_enter
.code64
bios_back:
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

    .balign 8
bios_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 8: 64-bit code
    .quad 0x00cf93000000ffff            # 16: data
    .quad 0x00009b000000ffff            # 24: 16-bit code
    .quad 0x000093000000ffff            # 32: 16-bit data
    .quad 0x00cf9b000000ffff            # 40: 32-bit code
bios_gdtr:
    .short 47
    .long bios_gdt
    .long 0
bios_idtr:
    .short 0x3ff
    .long 0
bios_drive:
    .long 0
bios_next:
    .long 0
bios_registers:
    .long 0
