//! How a run ends: by itself, by a trap, by a limit, by Ctrl-C. Each has its exit code and its words.

use std::{path::PathBuf, thread, time::Duration};

use rustix::process::Signal;

use crate::{
    Stories,
    guests::{guest, start},
    vm::{Place, vm},
};

/// How guests trap: the argument of tests/guests/traps.wat, and a word that the message has.
const TRAPS: [(&str, &str, &str); 5] = [
    ("u", "unreachable", "unreachable"),
    ("o", "a load out of bounds", "outside of"),
    ("d", "a division by zero", "by zero"),
    ("s", "a recursion without end", "stack"),
    ("i", "a call of an empty table entry", "null"),
];

pub(crate) fn stories(s: &mut Stories) {
    for place in Place::ALL {
        for code in [0, 1, 3, 124, 255] {
            s.needs(format!("ends: exit code {code} on {}", place.name()), place.lack(), move || {
                let body = format!(r#"(func (export "_start") (call $exit (i32.const {code})))"#);
                vm(start("exit", &body)).on(place).run().exits(code).prints("").stays_quiet();
            });
        }
    }
    for place in [Place::Microvm, Place::Pc, Place::Host] {
        let on = |story: &str| format!("ends: {story} on {}", place.name());
        for (letter, name, word) in TRAPS {
            s.needs(on(name), place.lack(), move || {
                let ran = vm(guest("traps")).on(place).args([letter]).run().exits(134).prints("");
                let words = String::from_utf8_lossy(&ran.stderr).to_lowercase();
                assert!(words.contains(word), "the kind of trap is not told\n{ran}");
                if letter == "s" {
                    ran.says("deeper");
                } else {
                    ran.says("innermost").says("middle");
                }
            });
        }
        s.needs(on("an endless loop is stopped in time, and named"), place.lack(), move || {
            let ran = vm(spin()).on(place).flags(["--timeout", "2s"]).run().exits(124).says("spinning");
            assert!(ran.took > Duration::from_millis(1900), "too early\n{ran}");
            assert!(ran.took < Duration::from_secs(6), "too late\n{ran}");
        });
        s.needs(on("fuel is used up"), place.lack(), move || {
            vm(spin()).on(place).flags(["--fuel", "1000000"]).run().exits(124).says("fuel");
        });
        s.needs(on("Ctrl-C stops a guest in an endless loop"), place.lack(), move || {
            interrupt(place, spin())
        });
        s.needs(on("Ctrl-C stops a guest that sleeps"), place.lack(), move || interrupt(place, sleep()));
    }
}

fn interrupt(place: Place, app: PathBuf) {
    let running = vm(app).on(place).start();
    thread::sleep(Duration::from_millis(1500));
    running.signal(Signal::INT);
    running.wait(Duration::from_secs(3)).exits(130);
}

pub(crate) fn spin() -> PathBuf {
    start(
        "spin",
        r#"(func $spinning (loop $forever (br $forever)))
        (func (export "_start") (call $spinning))"#,
    )
}

/// An hour, by poll_oneoff.
pub(crate) fn sleep() -> PathBuf {
    crate::guests::wat(
        "sleep",
        r#"(module
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "_start")
            (i32.store (i32.const 16) (i32.const 1))
            (i64.store (i32.const 24) (i64.const 3600000000000))
            (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))))"#,
    )
}
