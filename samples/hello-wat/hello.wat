;; The smallest program that prints: one import, one memory, one call.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovs i32) (param $count i32) (param $written i32) (result i32)))
  (memory (export "memory") 1)

  ;; One iovec: where the text is, and how long.
  (data (i32.const 0) "\10\00\00\00\18\00\00\00")
  (data (i32.const 16) "Hello, world, from WAT!\n")

  (func (export "_start")
    (drop (call $fd_write
      (i32.const 1)      ;; standard output
      (i32.const 0)      ;; the iovec
      (i32.const 1)      ;; just one
      (i32.const 8)))))  ;; how much was written goes here
