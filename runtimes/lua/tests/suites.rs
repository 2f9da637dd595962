//! Well-known Lua modules pass the tests that they were released with (`tests/lua`).

use std::{fs, path::Path};

use crate::{known, world::Stage};
use lunette_hostcalls::{Ending, ramfs::MountId};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/lua");

#[test]
fn well_known_modules_pass_their_own_tests() {
    // As in a booted image: a stack of 8 MiB.
    let run = std::thread::Builder::new().stack_size(8 << 20).spawn(|| {
        let mut stage = Stage::new();
        stage.limits.memory = 512 << 20;
        stage.args = vec!["main.lua"];
        put(&stage, Path::new(FOLDER), "");
        stage.run(&fs::read_to_string(format!("{FOLDER}/main.lua")).unwrap())
    });
    let ran = run.unwrap().join().unwrap();
    print!("{}", ran.out);
    assert_eq!(ran.ending, Ending::Exited(0), "{}{}", ran.out, ran.err);
    for (name, passed) in known::MODULES {
        let line = format!("{name}: {passed} passed, 0 failed");
        assert!(ran.out.lines().any(|told| told == line), "no {line:?} in\n{}", ran.out);
    }
}

/// Puts what is in a folder into the script's world.
fn put(stage: &Stage, folder: &Path, below: &str) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = format!("{below}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            put(stage, &entry.path(), &path);
        } else {
            let bytes: &'static [u8] = fs::read(entry.path()).unwrap().leak();
            let path = path.trim_start_matches('/');
            stage.world.files.insert_file(MountId::ROOT, path, bytes, 0).expect("a place");
        }
    }
}
