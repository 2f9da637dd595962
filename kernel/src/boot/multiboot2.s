# Multiboot2 entry: 32-bit protected mode, paging off, flat segments, EAX = magic, EBX = boot information (Multiboot2
# Specification 2.0, 3.1 and 3.3). There is no header of version 1: with one, QEMU takes no ELF64.

.set MAGIC, 0xe85250d6
.section .multiboot2, "a", @progbits
    .balign 8
1:  .long MAGIC
    .long 0                             # i386, which GRUB for EFI takes as well
    .long 2f - 1b
    .long -(MAGIC + (2f - 1b))
    .short 3, 0                         # where to enter: ELF's own entry is Linux's
    .long 12
    .long multiboot2_entry, 0
    .short 6, 0                         # the bundle begins with a page
    .long 8
    .short 0, 0
    .long 8
2:

.section .boot32, "ax", @progbits
.code32
.global multiboot2_entry
multiboot2_entry:
    cli
    cld
    mov ebp, ebx                        # boot information
    mov ecx, eax
    rdtsc                               # the instant of birth
    mov esi, eax
    mov edi, edx
    cmp ecx, 0x36d76289
    jne 9f                              # whoever this is, we do not know what it left for us
    mov dword ptr [boot_door], offset {multiboot2}
    jmp boot_enter
9:  hlt
    jmp 9b
.code64
