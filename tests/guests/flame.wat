;; Spends nine parts of ten of its time in one function, for as long as a profile needs to show it.
(module
    (memory (export "memory") 1)
    (func $count (param $n i32)
        (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func $hot (call $count (i32.const 9_000_000)) (drop (i32.const 1)))
    (func $cold (call $count (i32.const 1_000_000)) (drop (i32.const 1)))
    (func $_start (export "_start") (local $n i32)
        (loop $more
            (call $hot)
            (call $cold)
            (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 60))))))
