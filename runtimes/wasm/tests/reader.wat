;; Reads standard input, byte by byte, 50 calls down, and exits with the sum.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\01\00\00\00")
  (func $byte (result i32)
      (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)) (then unreachable))
      (if (result i32) (i32.load (i32.const 16)) (then (i32.load8_u (i32.const 64))) (else (i32.const -1))))
  (func $down (param $n i32) (result i32)
      (if (result i32) (local.get $n)
          (then (i32.sub (i32.add (call $down (i32.sub (local.get $n) (i32.const 1))) (local.get $n)) (local.get $n)))
          (else (call $byte))))
  (func (export "_start") (local $sum i32) (local $b i32)
      (loop $l
          (local.set $b (call $down (i32.const 50)))
          (if (i32.ge_s (local.get $b) (i32.const 0)) (then
              (local.set $sum (i32.add (local.get $sum) (local.get $b)))
              (br $l))))
      (call $exit (local.get $sum))))
