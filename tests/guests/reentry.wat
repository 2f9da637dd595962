;; A command whose `realloc` calls the host, while the host is lowering a list into it. The component model forbids that:
;; it has to trap, and the host has to live on.
(component
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))))
  ;; Memory first, for what is lowered goes into it, and what allocates there calls what is lowered.
  (core module $memory
    (memory (export "memory") 1)
    (table (export "table") 1 funcref)
    (type $realloc (func (param i32 i32 i32 i32) (result i32)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (call_indirect (type $realloc)
        (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 0))))
  (core instance $memory (instantiate $memory))
  (core func $get-arguments
    (canon lower (func $environment "get-arguments")
      (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core module $main
    (import "memory" "table" (table 1 funcref))
    (import "host" "get-arguments" (func $get-arguments (param i32)))
    (func $realloc (param i32 i32 i32 i32) (result i32)
      (call $get-arguments (i32.const 1024))
      (i32.const 2048))
    (elem (i32.const 0) func $realloc)
    (func (export "run") (result i32)
      (call $get-arguments (i32.const 0))
      (i32.const 0)))
  (core instance $main (instantiate $main
    (with "memory" (instance $memory))
    (with "host" (instance (export "get-arguments" (func $get-arguments))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
