(module
  ;; Takes a connection, writes 2 MiB to it, and ends without looking back: all of it must arrive.
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "\10\00\00\00\00\00\01\00")          ;; one buffer: 64 KiB from 16
  (data (i32.const 66000) "\00\02\01\00\06\00\00\00")      ;; one more: "ready\n"
  (data (i32.const 66048) "ready\n")
  (func (export "_start") (local $left i32)
    (drop (call $write (i32.const 1) (i32.const 66000) (i32.const 1) (i32.const 8)))
    (if (call $accept (i32.const 3) (i32.const 0) (i32.const 8)) (then (call $exit (i32.const 1))))
    (local.set $left (i32.const 32))
    (loop $more
      (if (call $write (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 12))
        (then (call $exit (i32.const 2))))
      (if (i32.ne (i32.load (i32.const 12)) (i32.const 65536)) (then (call $exit (i32.const 3))))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  )
)
