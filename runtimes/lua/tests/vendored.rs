//! The vendored LPeg is the release plus `limits.patch`, and nothing else.

#[path = "../../../tests/vendored.rs"]
mod vendored;

#[test]
fn the_vendored_tree_is_the_release_plus_the_patch() {
    let vendor = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor/lpeg");
    vendored::check(&vendor, "1.1.0", "limits.patch", &[]);
}
