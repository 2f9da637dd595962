;; Arguments (each ended by NUL), environment (likewise), then standard input to its end: all to standard
;; output. Exits with the errno of the first call that fails.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 4)

  (func $ok (param $errno i32)
    (if (local.get $errno) (then (call $exit (local.get $errno)))))

  ;; All of it, however little a write takes.
  (func $put (param $at i32) (param $len i32)
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $len)))
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $len))
        (call $ok (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
        (local.set $len (i32.sub (local.get $len) (i32.load (i32.const 8))))
        (br $again))))

  (func (export "_start")
    (call $ok (call $args_sizes (i32.const 16) (i32.const 20)))
    (call $ok (call $args (i32.const 1024) (i32.const 65536)))
    (call $put (i32.const 65536) (i32.load (i32.const 20)))
    (call $ok (call $env_sizes (i32.const 16) (i32.const 20)))
    (call $ok (call $env (i32.const 1024) (i32.const 65536)))
    (call $put (i32.const 65536) (i32.load (i32.const 20)))
    (block $eof
      (loop $more
        (i32.store (i32.const 0) (i32.const 65536))
        (i32.store (i32.const 4) (i32.const 65536))
        (call $ok (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 12)))
        (br_if $eof (i32.eqz (i32.load (i32.const 12))))
        (call $put (i32.const 65536) (i32.load (i32.const 12)))
        (br $more)))))
