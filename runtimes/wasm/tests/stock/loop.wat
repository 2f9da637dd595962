;; An accept loop: takes one connection after the other and sends back what comes, until it ends.
(module
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_recv" (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  ;; 0: the buffer at 256 and its length; 8: the descriptor; 12: bytes received; 16: flags; 20: bytes sent
  (data (i32.const 0) "\00\01\00\00\00\01\00\00")
  (func $serve (param $fd i32)
    (block $over
      (loop $on
        (i32.store (i32.const 4) (i32.const 256))
        (br_if $over (call $recv (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 12) (i32.const 16)))
        (br_if $over (i32.eqz (i32.load (i32.const 12))))
        (i32.store (i32.const 4) (i32.load (i32.const 12)))
        (br_if $over (call $send (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 20)))
        (br $on)))
    (drop (call $close (local.get $fd))))
  (func (export "_start") (local $errno i32)
    (loop $next
      (local.set $errno (call $accept (i32.const 3) (i32.const 0) (i32.const 8)))
      (if (local.get $errno) (then (call $exit (local.get $errno))))
      (call $serve (i32.load (i32.const 8)))
      (br $next))))
