//! Guests that mean harm. Each may be refused or ended; none may end the VM without words, reach what it
//! was not given, or go on for ever.

use crate::{
    Stories,
    guests::{start, wat},
    vm::{Place, Ran, vm},
};

/// WASI preview 1, whole: name, parameters (`i` i32, `I` i64), has a result.
const PREVIEW1: [(&str, &str, bool); 46] = [
    ("args_get", "ii", true),
    ("args_sizes_get", "ii", true),
    ("clock_res_get", "ii", true),
    ("clock_time_get", "iIi", true),
    ("environ_get", "ii", true),
    ("environ_sizes_get", "ii", true),
    ("fd_advise", "iIIi", true),
    ("fd_allocate", "iII", true),
    ("fd_close", "i", true),
    ("fd_datasync", "i", true),
    ("fd_fdstat_get", "ii", true),
    ("fd_fdstat_set_flags", "ii", true),
    ("fd_fdstat_set_rights", "iII", true),
    ("fd_filestat_get", "ii", true),
    ("fd_filestat_set_size", "iI", true),
    ("fd_filestat_set_times", "iIIi", true),
    ("fd_pread", "iiiIi", true),
    ("fd_prestat_dir_name", "iii", true),
    ("fd_prestat_get", "ii", true),
    ("fd_pwrite", "iiiIi", true),
    ("fd_read", "iiii", true),
    ("fd_readdir", "iiiIi", true),
    ("fd_renumber", "ii", true),
    ("fd_seek", "iIii", true),
    ("fd_sync", "i", true),
    ("fd_tell", "ii", true),
    ("fd_write", "iiii", true),
    ("path_create_directory", "iii", true),
    ("path_filestat_get", "iiiii", true),
    ("path_filestat_set_times", "iiiiIIi", true),
    ("path_link", "iiiiiii", true),
    ("path_open", "iiiiiIIii", true),
    ("path_readlink", "iiiiii", true),
    ("path_remove_directory", "iii", true),
    ("path_rename", "iiiiii", true),
    ("path_symlink", "iiiii", true),
    ("path_unlink_file", "iii", true),
    ("poll_oneoff", "iiii", true),
    ("proc_exit", "i", false),
    ("proc_raise", "i", true),
    ("random_get", "ii", true),
    ("sched_yield", "", true),
    ("sock_accept", "iii", true),
    ("sock_recv", "iiiiii", true),
    ("sock_send", "iiiii", true),
    ("sock_shutdown", "ii", true),
];

/// First argument (a descriptor, most often), and all others. Memory has two pages: 131,072 bytes.
const WILD: [(i64, i64); 9] = [
    (-1, -1),
    (0, -1),
    (1, -1),
    (3, -1),
    (0, 131_071),
    (1, 131_068),
    (3, 131_064),
    (4, 0x7fff_ffff),
    (-16, 16),
];

pub(crate) fn stories(s: &mut Stories) {
    for (name, parameters, result) in PREVIEW1 {
        for place in [Place::Microvm, Place::Host] {
            let story = format!("hostile: wild pointers to {name} on {}", place.name());
            s.needs(story, place.lack(), move || {
                let app = wild(name, parameters, result);
                // A time limit, for to wait is no crash; a trap is a fair answer too.
                let ran = vm(app).on(place).flags(["--timeout", "5s"]).run();
                let own = if result { 0 } else { 255 };
                ran.exits_with_one_of(&[own, 134]);
            });
        }
    }
    for place in [Place::Microvm, Place::Host] {
        let on = |story: &str| format!("hostile: {story} on {}", place.name());
        s.needs(on("overlapping iovecs are written one after the other"), place.lack(), move || {
            vm(overlapping_write()).on(place).run().exits(0).prints("abcbcd");
        });
        s.needs(on("a read over its own iovecs"), place.lack(), move || {
            // Which bytes land where is nobody's business; that it ends is.
            vm(overlapping_read()).on(place).stdin(vec![0xff; 64]).run().exits_with_one_of(&[0, 134]);
        });
        for (words, path) in [
            ("dots", "../x"),
            ("dots behind a folder", "a/../../x"),
            ("an absolute path", "/etc/passwd"),
            ("dots to no end", "../../../../../../../../etc/passwd"),
        ] {
            s.needs(on(&format!("leaving a preopen by {words}")), place.lack(), move || {
                denied(vm(open(4, path)).on(place).run());
            });
        }
        s.needs(on("leaving a preopen by a symbolic link"), place.lack(), move || {
            denied(vm(link_out()).on(place).run());
        });
        s.needs(on("creating a file in the read-only root"), place.lack(), move || {
            denied(vm(open(3, "new")).on(place).run());
        });
        s.needs(on("a path of 4 GiB"), place.lack(), move || {
            let body = r#"(func (export "_start") (call $exit
              (call $mkdir (i32.const 4) (i32.const 8) (i32.const -1))))"#;
            let ran = vm(start("long", body)).on(place).run();
            assert!(ran.code() != 0 && ran.code() != 125, "{ran}");
        });
        s.needs(on("growing memory until nothing is left"), place.lack(), move || bomb(place));
        s.needs(on("growing a table until nothing is left"), place.lack(), move || {
            let body = r#"(table $t 1 funcref)
              (func (export "_start")
                (loop $more
                  (br_if $more (i32.ne (i32.const -1)
                    (table.grow $t (ref.null func) (i32.const 100000)))))
                (call $exit (i32.const 7)))"#;
            vm(start("tables", body))
                .on(place)
                .flags(["--timeout", "30s"])
                .run()
                .exits_with_one_of(&[7, 134, 137]);
        });
        s.needs(on("files until nothing is left"), place.lack(), move || {
            vm(fill()).on(place).flags(["-m", "64M", "--timeout", "50s"]).run().exits_with_one_of(&[51, 137]);
        });
    }
}

fn denied(ran: Ran) {
    // perm, rofs or notcapable: what the spec and wasmtime know for it.
    ran.exits_with_one_of(&[63, 69, 76]);
}

fn bomb(place: Place) {
    let body = r#"(func (export "_start") (local $at i32)
      (loop $more
        (local.set $at (memory.grow (i32.const 16)))
        (if (i32.eq (local.get $at) (i32.const -1)) (then (call $exit (i32.const 7))))
        ;; Touched, so that nobody can only pretend.
        (memory.fill (i32.mul (local.get $at) (i32.const 65536)) (i32.const 1) (i32.const 1048576))
        (br $more)))"#;
    let ran = vm(start("bomb", body)).on(place).flags(["-m", "64M", "--timeout", "50s"]).run();
    let ran = ran.exits_with_one_of(&[7, 137]);
    assert!(ran.code() == 7 || !ran.stderr.is_empty(), "ended without words\n{ran}");
}

/// Calls one function with all the wild arguments in turn.
fn wild(name: &str, parameters: &str, result: bool) -> std::path::PathBuf {
    let types: Vec<&str> = parameters.chars().map(|c| if c == 'I' { "i64" } else { "i32" }).collect();
    let params = if types.is_empty() { String::new() } else { format!("(param {})", types.join(" ")) };
    let calls: String = WILD
        .iter()
        .map(|&(first, rest)| {
            let args: String = types
                .iter()
                .enumerate()
                .map(|(i, ty)| format!("({ty}.const {}) ", if i == 0 { first } else { rest }))
                .collect();
            let call = format!("(call $f {args})");
            if result { format!("(drop {call})\n") } else { format!("{call}\n") }
        })
        .collect();
    let results = if result { "(result i32)" } else { "" };
    wat(
        name,
        &format!(
            r#"(module (import "wasi_snapshot_preview1" "{name}" (func $f {params} {results}))
          (memory (export "memory") 2) (func (export "_start") {calls}))"#
        ),
    )
}

fn overlapping_write() -> std::path::PathBuf {
    start(
        "overlap",
        r#"(data (i32.const 0) "\64\00\00\00\03\00\00\00\65\00\00\00\03\00\00\00")
        (data (i32.const 100) "abcd")
        (func (export "_start")
          (if (call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 32))
            (then (call $exit (i32.const 9)))))"#,
    )
}

/// Two iovecs over the array of iovecs itself; the count lands in it as well.
fn overlapping_read() -> std::path::PathBuf {
    start(
        "overlap",
        r#"(data (i32.const 0) "\00\00\00\00\10\00\00\00\04\00\00\00\10\00\00\00")
        (func (export "_start")
          (drop (call $read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 4))))"#,
    )
}

/// Creates or opens a path for writing under a preopen, and exits with the errno. /tmp has a folder `a`.
fn open(preopen: u32, path: &str) -> std::path::PathBuf {
    let len = path.len();
    start(
        "open",
        &format!(
            r#"(data (i32.const 56) "a") (data (i32.const 64) "{path}")
        (func (export "_start")
          (drop (call $mkdir (i32.const 4) (i32.const 56) (i32.const 1)))
          (call $exit
          (call $open (i32.const {preopen}) (i32.const 1) (i32.const 64) (i32.const {len}) (i32.const 1)
            (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 32))))"#
        ),
    )
}

/// In /tmp: `up` → `..`, and a file through it.
fn link_out() -> std::path::PathBuf {
    start(
        "link",
        r#"(data (i32.const 64) "..") (data (i32.const 68) "up") (data (i32.const 72) "up/x")
        (func (export "_start")
          (if (call $symlink (i32.const 64) (i32.const 2) (i32.const 4) (i32.const 68) (i32.const 2))
            (then (call $exit (i32.const 63))))
          (call $exit
            (call $open (i32.const 4) (i32.const 1) (i32.const 72) (i32.const 4) (i32.const 1)
              (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 32))))"#,
    )
}

/// Writes to one file in /tmp until a write fails; exits with its errno.
fn fill() -> std::path::PathBuf {
    start(
        "fill",
        r#"(data (i32.const 64) "big") (data (i32.const 0) "\00\00\01\00\00\00\01\00")
        (func (export "_start") (local $errno i32)
          (local.set $errno (call $open (i32.const 4) (i32.const 0) (i32.const 64) (i32.const 3) (i32.const 1)
            (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 32)))
          (if (local.get $errno) (then (call $exit (local.get $errno))))
          (loop $more
            (local.set $errno (call $write (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 36)))
            (br_if $more (i32.eqz (local.get $errno))))
          (call $exit (local.get $errno)))"#,
    )
}
