//! Links the image, and the test images of tests/vm, with the kernel's own map of memory (kernel/image/layout.ld).

use std::path::PathBuf;

fn main() {
    // Cargo runs this in the folder of the package that names it.
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let image = ["", "../../kernel/image"].map(|dir| here.join(dir));
    let image =
        image.iter().find(|dir| dir.join("layout.ld").is_file()).expect("kernel/image has a layout.ld");
    let layout = image.join("layout.ld");
    println!("cargo:rerun-if-changed={}", layout.display());
    println!("cargo:rerun-if-changed={}", image.join("build.rs").display());
    // What main.rs writes into the image's note.
    let holds = ["wasm", "lua", "native"];
    let holds = holds.map(|name| (name, format!("CARGO_FEATURE_{}", name.to_uppercase())));
    let holds: Vec<_> =
        holds.iter().filter(|(_, set)| std::env::var_os(set).is_some()).map(|(name, _)| *name).collect();
    println!("cargo:rustc-env=LUNETTE_RUNTIMES={}", holds.join(","));
    // A host build of the workspace (clippy, rust-analyzer) links this like any program.
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("musl") {
        return;
    }
    for arg in [
        &format!("-T{}", layout.display()),
        "--no-dynamic-linker",
        "-znorelro",
        "--gc-sections",
        "--eh-frame-hdr",
        "-zmax-page-size=4096",
        "-znoexecstack",
        "--build-id=none",
    ] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
