# Linux's 64-bit entry: long mode, everything that matters mapped at its own address, RSI = boot_params
# (Documentation/arch/x86/boot.rst, "64-bit boot protocol"). Leaves long mode again, for the tables are to be ours.

.section .boot32, "ax", @progbits
.code64
.global linux64_entry
linux64_entry:
    cli
    cld
    mov rbx, rsi                        # boot_params
    rdtsc                               # the instant of birth
    mov esi, eax
    mov edi, edx
    mov rax, rbx
    shr rax, 32
    jnz 9f                              # out of reach, and nobody to tell
    mov ebp, ebx
    mov rsp, offset boot_stack_top
    lgdt [boot_gdtr]
    push 24
    mov eax, offset linux64_leave
    push rax
    retfq
.code32
linux64_leave:
    mov eax, 16
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov eax, cr4
    and eax, ~(1 << 17)                 # PCIDE, with which paging may not end
    mov cr4, eax
    mov eax, cr0
    and eax, 0x7fffffff                 # PG: long mode is left
    mov cr0, eax
    mov dword ptr [boot_door], offset {linux64}
    jmp boot_enter
9:  hlt
    jmp 9b
.code64
