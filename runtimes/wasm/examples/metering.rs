//! What metering costs: `cargo run --release -p lunette-wasm --example metering [fib|loop|memory] [on|off]`,
//! under `perf stat -e instructions:u` for counts. Prints milliseconds; without arguments, all of them.

use std::time::Instant;

use wasmi::{Instance, Module, Store};

const PROGRAMS: [(&str, &str); 3] = [
    (
        "fib",
        r#"(module (func $fib (export "run") (param i32) (result i32)
            (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (local.get 0))
                (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                    (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"#,
    ),
    (
        "loop",
        r#"(module (func (export "run") (param i32) (result i32) (local $n i32) (local $x i32)
            (local.set $n (i32.const 50000000))
            (loop $l
                (local.set $x (i32.xor (i32.mul (local.get $x) (i32.const 31)) (local.get $n)))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $x)))"#,
    ),
    (
        "memory",
        r#"(module (memory 16) (func (export "run") (param i32) (result i32) (local $n i32) (local $x i32)
            (local.set $n (i32.const 30000000))
            (loop $l
                (i32.store (i32.and (i32.shl (local.get $n) (i32.const 2)) (i32.const 0xffffc)) (local.get $x))
                (local.set $x (i32.add (local.get $x)
                    (i32.load (i32.and (i32.mul (local.get $n) (i32.const 52)) (i32.const 0xffffc)))))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $x)))"#,
    ),
];

fn main() {
    let args: Vec<_> = std::env::args().skip(1).collect();
    for (name, text) in PROGRAMS {
        for (switch, metering) in [("off", false), ("on", true)] {
            if args.iter().any(|arg| arg != name && arg != switch) {
                continue;
            }
            let engine = lunette_wasm::engine(metering);
            let module = Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
            let mut store = Store::new(&engine, ());
            if metering {
                store.set_fuel(u64::MAX).unwrap();
            }
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let run = instance.get_typed_func::<i32, i32>(&store, "run").unwrap();
            let began = Instant::now();
            let result = run.call(&mut store, 32).unwrap();
            let fuel = store.get_fuel().map_or(0, |left| u64::MAX - left);
            println!(
                "{name:8} {switch:4} {:7.1} ms  fuel {fuel:12}  ({result})",
                began.elapsed().as_secs_f64() * 1e3
            );
        }
    }
}
