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
