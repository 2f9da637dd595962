;; A component for a world that nobody here knows: three interfaces that are missing for three reasons, beside one that is
;; there.
(component
  ;; Of nobody's.
  (import "acme:thing/foo@1.2.0" (instance
    (export "bar" (func (param "what" string) (result u32)))))
  ;; A letter is wrong.
  (import "wasi:filesytem/preopens@0.2.0" (instance
    (export "get-directories" (func))))
  ;; Of a WASI to come.
  (import "wasi:cli/environment@0.9.0" (instance
    (export "get-everything" (func (result string)))))
  (import "wasi:random/insecure-seed@0.2.0" (instance
    (export "insecure-seed" (func (result (tuple u64 u64))))))
  (core module $m (func (export "run") (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
