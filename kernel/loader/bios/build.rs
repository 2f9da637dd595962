//! Links the loader to the low memory that it runs in (layout.ld).

fn main() {
    println!("cargo:rerun-if-changed=layout.ld");
    // A host build of the workspace (clippy, rust-analyzer) links this like any program.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
        for arg in [&format!("-T{here}/layout.ld"), "--gc-sections", "-znorelro", "--build-id=none"] {
            println!("cargo:rustc-link-arg-bins={arg}");
        }
    }
}
