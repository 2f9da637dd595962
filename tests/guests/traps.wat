;; Ends in the way that the first letter of its first argument names, three calls deep.
(module
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (table 1 funcref)
  (type $nothing (func))

  (func $deeper (param i32) (result i32)
    (i32.add (i32.const 1) (call $deeper (i32.add (local.get 0) (i32.const 1)))))

  (func $innermost (param $how i32)
    (if (i32.eq (local.get $how) (i32.const 0x75)) (then unreachable))                                ;; u
    (if (i32.eq (local.get $how) (i32.const 0x6f)) (then (drop (i32.load (i32.const 65533)))))         ;; o
    (if (i32.eq (local.get $how) (i32.const 0x64))                                                     ;; d
      (then (drop (i32.div_u (i32.const 1) (i32.sub (local.get $how) (i32.const 0x64))))))
    (if (i32.eq (local.get $how) (i32.const 0x73)) (then (drop (call $deeper (i32.const 0)))))         ;; s
    (if (i32.eq (local.get $how) (i32.const 0x69))                                                     ;; i
      (then (call_indirect (type $nothing) (i32.const 0)))))

  (func $middle (param i32) (call $innermost (local.get 0)))

  (func (export "_start")
    (drop (call $args (i32.const 0) (i32.const 1024)))
    ;; The second string: argument 1.
    (call $middle (i32.load8_u (i32.load (i32.const 4))))))
