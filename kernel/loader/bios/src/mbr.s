# The master boot record: reads the loader and the record of what the disk holds to 0x8000, and goes there. Real mode; DL =
# the drive. tools/disk fills in the fields at the end, and the partition table.

.section .mbr, "ax", @progbits
.code16
.global mbr
mbr:
    cli
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ss, ax
    mov sp, 0x7c00
    cld
    .byte 0xea                          # far jump: some come as 0x7c0:0
    .short mbr_start, 0
mbr_start:
    sti
    mov [mbr_drive], dl
    mov ah, 0x41                        # are there INT 13h's extensions?
    mov bx, 0x55aa
    int 0x13
    mov si, offset mbr_old
    jc mbr_fail
    cmp bx, 0xaa55
    jne mbr_fail
    test cl, 1
    jz mbr_fail
mbr_next:
    mov ax, [mbr_sectors]
    test ax, ax
    jz mbr_done
    cmp ax, 32                          # so many at a time: no BIOS refuses them
    jbe 1f
    mov ax, 32
1:  mov [mbr_packet + 2], ax
    sub [mbr_sectors], ax
    mov ah, 0x42
    mov dl, [mbr_drive]
    mov si, offset mbr_packet
    int 0x13
    mov si, offset mbr_unread
    jc mbr_fail
    movzx eax, word ptr [mbr_packet + 2]
    add [mbr_packet + 8], eax
    adc dword ptr [mbr_packet + 12], 0
    mul word ptr [mbr_paragraphs]
    add [mbr_packet + 6], ax
    jmp mbr_next
mbr_done:
    mov dl, [mbr_drive]
    .byte 0xea
    .short bios_start, 0

mbr_fail:                               # SI: the words
    mov bx, si
    mov si, offset mbr_farewell
    call mbr_say
    mov si, bx
    call mbr_say
2:  hlt
    jmp 2b

mbr_say:                                # to the screen, and to COM1, as it is
    lodsb
    test al, al
    jz 3f
    push bx
    push ax
    mov ah, 0xe
    mov bx, 7
    int 0x10
    pop ax
    pop bx
    mov dx, 0x3f8
    out dx, al
    jmp mbr_say
3:  ret

mbr_farewell:
    .asciz "lunette: farewell refused "
mbr_old:
    .asciz "this firmware has no INT 13h extensions\r\n"
mbr_unread:
    .asciz "this disk can't be read: the loader\r\n"
mbr_drive:
    .byte 0

    .org mbr + 416
mbr_sectors:
    .short 0                            # how many
mbr_paragraphs:
    .short 32                           # 16 bytes each, in a sector
    .org mbr + 424
mbr_packet:                             # disk address packet: its size, how many, where to, from where
    .short 16, 0
    .short 0, 0x800
    .quad 0
    .org mbr + 510
    .short 0xaa55
.code64
