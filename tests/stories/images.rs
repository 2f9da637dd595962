//! Images that leave something out: the smallest that fits is booted, and what one lacks it says.

use std::fs;

use crate::{
    Stories,
    guests::folder,
    samples::{built, expected},
    vm::{cannot_boot, image, lunette, vm},
};

const WASM: &str = "lunette-wasm.elf";

pub(crate) fn stories(s: &mut Stories) {
    let variant = image(WASM).is_some_and(|path| path.is_file() && path.ends_with(WASM));
    let lack = cannot_boot().or((!variant).then_some("no lunette-wasm.elf"));
    let no_hello = lack.or(built("hello-rust").is_none().then_some("not built"));
    for mib in [8, 12] {
        s.needs(format!("images: hello in {mib} MiB, in the smallest image"), no_hello, move || {
            let run = vm(built("hello-rust").expect("built")).flags(["-v", "-m", &format!("{mib}M")]).run();
            run.exits(0).prints(expected("hello-rust")).says(WASM);
        });
    }
    s.needs("images: hello in the full image, if that is named", no_hello, || {
        let run = vm(built("hello-rust").expect("built")).flags(["-v", "--image", "full"]).run();
        run.exits(0).prints(expected("hello-rust")).says("lunette.elf (");
    });
    s.needs("images: a script takes one that has Lua", lack, || {
        let run = vm(script("images-lua")).flags(["-v"]).run();
        run.exits(0).prints("moon\n").says("the app needs lua");
    });
    s.needs("images: a script in one without Lua is refused, with the remedy", lack, || {
        let run = vm(script("images-no-lua")).flags(["--image", "wasm"]).run();
        run.refuses("main.lua is a Lua script, and this image has no Lua (it has wasm)");
    });
    let component = built("http-component").or_else(|| built("component-files"));
    let no_component = lack.or(component.is_none().then_some("not built"));
    s.needs("images: a component in one without native code is refused", no_component, move || {
        let run = vm(component.expect("built")).flags(["--image", "wasm"]).run();
        run.refuses("is a component, which takes native code, and this image runs none (it has wasm)");
    });
    s.needs("images: native code beside bytecode is passed over by one that runs none", no_hello, || {
        let run = vm(built("hello-rust").expect("built")).flags(["--aot", "--image", "wasm"]).run();
        let run = run.exits(0).prints(expected("hello-rust"));
        run.says("this image runs no native code; it is interpreted");
    });
    s.needs("images: wasmtime alone is more than one without native code can give", no_hello, || {
        let run = vm(built("hello-rust").expect("built"));
        let run = run.flags(["--engine", "wasmtime", "--image", "wasm"]).run();
        run.refuses("to run by wasmtime, and this image runs no native code");
    });
    s.needs("images: inspect and --dry-run tell which is taken", no_hello, || {
        let hello = built("hello-rust").expect("built");
        let told = |words: &[&str]| {
            let ran = lunette(words.iter().copied()).args([&hello]).run().exits(0);
            String::from_utf8(ran.stdout).expect("UTF-8")
        };
        assert!(told(&["inspect"]).contains(WASM));
        assert!(told(&["run", "--dry-run", "--accel", "tcg"]).contains(WASM));
        let full = told(&["run", "--dry-run", "--accel", "tcg", "--image", "full"]);
        assert!(full.contains("lunette.elf") && !full.contains(WASM), "{full}");
    });
}

fn script(name: &str) -> std::path::PathBuf {
    let path = folder(name).join("main.lua");
    fs::write(&path, "print 'moon'\n").expect("a script");
    path
}
