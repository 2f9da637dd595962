;; Calls clock_time_get 100,000 times and writes the nanoseconds that all of it took: 8 bytes, little-endian.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\08\00\00\00")
  (func (export "_start")
    (local $left i32)
    (local.set $left (i32.const 100000))
    (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 24)))
    (loop $again
      (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 16)))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i64.store (i32.const 16) (i64.sub (i64.load (i32.const 16)) (i64.load (i32.const 24))))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
