# Entry points of exceptions, interrupts and floor calls.
#
# Compiled code keeps data below the stack pointer (the red zone) and uses SSE registers freely, so every
# vector switches to an IST stack, and every entry saves the SSE state. One core: no swapgs, no nesting on
# one IST stack.

.section .text.traps, "ax", @progbits
.code64

# 64 entries of 16 bytes: exceptions 0-31, then device interrupts. The processor pushes an error code for
# some; the others get a zero, so that all frames look alike.
    .balign 16
.global trap_entries
trap_entries:
    .set vector, 0
    .rept 64
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .else
    push 0
    .endif
    push vector
    jmp trap_common
    .set vector, vector + 1
    .endr
    .balign 16

# Registers are saved in the order of Linux' `gregset_t`, so that a signal frame is one copy.
trap_common:
    sub rsp, 15 * 8
    mov [rsp], r8
    mov [rsp + 8], r9
    mov [rsp + 16], r10
    mov [rsp + 24], r11
    mov [rsp + 32], r12
    mov [rsp + 40], r13
    mov [rsp + 48], r14
    mov [rsp + 56], r15
    mov [rsp + 64], rdi
    mov [rsp + 72], rsi
    mov [rsp + 80], rbp
    mov [rsp + 88], rbx
    mov [rsp + 96], rdx
    mov [rsp + 104], rax
    mov [rsp + 112], rcx
    mov rdi, rsp
    sub rsp, 512
    fxsave64 [rsp]
    mov rsi, rsp
    cld
    call {trap}
    fxrstor64 [rsp]
    add rsp, 512
    mov r8, [rsp]
    mov r9, [rsp + 8]
    mov r10, [rsp + 16]
    mov r11, [rsp + 24]
    mov r12, [rsp + 32]
    mov r13, [rsp + 40]
    mov r14, [rsp + 48]
    mov r15, [rsp + 56]
    mov rdi, [rsp + 64]
    mov rsi, [rsp + 72]
    mov rbp, [rsp + 80]
    mov rbx, [rsp + 88]
    mov rdx, [rsp + 96]
    mov rax, [rsp + 104]
    mov rcx, [rsp + 112]
    add rsp, 15 * 8 + 16
    iretq

# The timer tick: counts, acknowledges, calls the hook if there is one (`traps::HOOK`), and touches nothing else,
# so that it may come at any instant. The hook is compiled code: what it may change is saved.
.global tick_entry
tick_entry:
    push rax
    inc qword ptr [{ticks}]
    mov eax, 0xfee000b0                 # the local APIC's end-of-interrupt register
    mov dword ptr [rax], 0
    mov rax, [{hook}]
    test rax, rax
    jnz 1f
    pop rax
    iretq
1:  push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push rbp
    mov rbp, rsp
    sub rsp, 512
    and rsp, -64
    fxsave64 [rsp]
    cld
    call rax
    fxrstor64 [rsp]
    mov rsp, rbp
    pop rbp
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    iretq

# A floor call: the `syscall` instruction executed by code that is already at ring 0 (std, musl, engines).
# RCX = return address, R11 = flags, both lost to the caller by the ABI; everything else but RAX is kept.
# The stack is the caller's, so its red zone is stepped over. Returned from by a jump, for SYSRET would
# leave ring 0.
.global floor_entry
floor_entry:
    cmp eax, 15                         # rt_sigreturn: the frame is the stack itself
    je signal_return
    lea rsp, [rsp - 128]
    push rcx
    push r11
    push rbp
    mov rbp, rsp
    push rdi
    push rsi
    push rdx
    push r8
    push r9
    push r10
    sub rsp, 512
    and rsp, -64
    fxsave64 [rsp]
    # {floor}(args: &[u64; 6] in the order r10 r9 r8 rdx rsi rdi, number)
    lea rdi, [rbp - 48]
    mov esi, eax
    call {floor}
    fxrstor64 [rsp]
    lea rsp, [rbp - 48]
    pop r10
    pop r9
    pop r8
    pop rdx
    pop rsi
    pop rdi
    pop rbp
    popfq
    pop rcx
    lea rsp, [rsp + 128]
    jmp rcx

# RSP points at the `ucontext_t` that `signals::deliver` wrote. A handler may have changed it (wasmtime does).
signal_return:
    mov rbx, rsp
    mov rax, [rbx + 224]                # uc_mcontext.fpregs
    fxrstor64 [rax]
    mov rsp, rbx                        # what is below is no longer needed
    push 16                             # SS
    push qword ptr [rbx + 40 + 15 * 8]            # RSP
    push qword ptr [rbx + 40 + 17 * 8]            # RFLAGS
    push 8                              # CS
    push qword ptr [rbx + 40 + 16 * 8]            # RIP
    mov r8, [rbx + 40]
    mov r9, [rbx + 48]
    mov r10, [rbx + 56]
    mov r11, [rbx + 64]
    mov r12, [rbx + 72]
    mov r13, [rbx + 80]
    mov r14, [rbx + 88]
    mov r15, [rbx + 96]
    mov rdi, [rbx + 104]
    mov rsi, [rbx + 112]
    mov rbp, [rbx + 120]
    mov rdx, [rbx + 136]
    mov rax, [rbx + 144]
    mov rcx, [rbx + 152]
    mov rbx, [rbx + 128]
    iretq
