//! Links the test images as kernel/image is linked.

fn main() {
    println!("cargo:rerun-if-changed=../../kernel/image/layout.ld");
    println!("cargo:rerun-if-changed=build.rs");
    // A host build of the workspace (clippy, rust-analyzer) links this like any program.
    if std::env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("musl") {
        return;
    }
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for arg in [
        format!("-T{here}/../../kernel/image/layout.ld"),
        "--no-dynamic-linker".into(),
        "-znorelro".into(),
        "--gc-sections".into(),
        "--eh-frame-hdr".into(),
        "-zmax-page-size=4096".into(),
        "-znoexecstack".into(),
        "--build-id=none".into(),
    ] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
