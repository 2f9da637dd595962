//! What goes in and what comes out: arguments, environment, standard input, output and error.

use crate::{
    Stories,
    guests::{guest, start},
    vm::{Place, vm},
};

pub(crate) fn stories(s: &mut Stories) {
    for place in Place::ALL {
        let on = |story: &str| format!("streams: {story} on {}", place.name());
        s.needs(on("arguments, environment and input arrive"), place.lack(), move || {
            let run = vm(guest("cat")).on(place).args(["one", "", "zwei drei", "-x"]).stdin("typed\n");
            let ran = run.flags(["-e", "A=1", "-e", "NAME=mit Leerzeichen"]).run().exits(0).stays_quiet();
            ran.prints("cat.wasm\0one\0\0zwei drei\0-x\0A=1\0NAME=mit Leerzeichen\0typed\n");
        });
        s.needs(on("empty input ends at once"), place.lack(), move || {
            vm(guest("cat")).on(place).run().exits(0).prints("cat.wasm\0");
        });
        s.needs(on("1 MiB of all byte values comes back as it went in"), place.lack(), move || {
            let mut bytes = every_byte(1 << 20);
            let ran = vm(guest("cat")).on(place).stdin(bytes.clone()).run().exits(0);
            bytes.splice(0..0, *b"cat.wasm\0");
            ran.prints(bytes);
        });
        s.needs(on("output and error are not mixed"), place.lack(), move || {
            let ran = vm(both()).on(place).run().exits(0).prints("out 0\nout 1\nout 2\n");
            assert_eq!(String::from_utf8_lossy(&ran.stderr), "err 0\nerr 1\nerr 2\n");
        });
        s.needs(on("1 MiB of output arrives whole"), place.lack(), move || {
            vm(flood()).on(place).run().exits(0).prints(vec![0x61; 1 << 20]).stays_quiet();
        });
    }
}

/// All values in all neighbourhoods: each byte after each other one.
fn every_byte(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

fn both() -> std::path::PathBuf {
    start(
        "both",
        r#"(data (i32.const 0) "\20\00\00\00\06\00\00\00\30\00\00\00\06\00\00\00")
        (data (i32.const 32) "out 0\n") (data (i32.const 48) "err 0\n")
        (func (export "_start")
          (loop $again
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
            (drop (call $write (i32.const 2) (i32.const 8) (i32.const 1) (i32.const 64)))
            (i32.store8 (i32.const 36) (i32.add (i32.load8_u (i32.const 36)) (i32.const 1)))
            (i32.store8 (i32.const 52) (i32.add (i32.load8_u (i32.const 52)) (i32.const 1)))
            (br_if $again (i32.ne (i32.load8_u (i32.const 36)) (i32.const 0x33)))))"#,
    )
}

fn flood() -> std::path::PathBuf {
    start(
        "flood",
        r#"(func (export "_start") (local $left i32)
          (memory.fill (i32.const 65536) (i32.const 0x61) (i32.const 65536))
          (local.set $left (i32.const 1048576))
          (loop $again
            (i32.store (i32.const 0) (i32.const 65536))
            (i32.store (i32.const 4) (select (i32.const 65536) (local.get $left)
              (i32.gt_u (local.get $left) (i32.const 65536))))
            (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
              (then (call $exit (i32.const 9))))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.load (i32.const 8)))))))"#,
    )
}
