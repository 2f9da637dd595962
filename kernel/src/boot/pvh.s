# PVH entry: 32-bit protected mode, paging off, flat segments, EBX = hvm_start_info (Xen, docs/misc/pvh.pandoc).

.section .note.xen, "a", @note
    .balign 4
    .long 4, 8, 18                      # name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_entry

.section .boot32, "ax", @progbits
.code32
.global pvh_entry
pvh_entry:
    cli
    cld
    mov ebp, ebx                        # hvm_start_info
    rdtsc                               # the instant of birth: marks and the clock count from here
    mov esi, eax
    mov edi, edx
    jmp boot_enter                      # whose door is this one, unless another says so
.code64
