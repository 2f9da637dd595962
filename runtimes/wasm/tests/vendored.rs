//! The vendored wasmi is the release plus `lunette.patch`, and nothing else.

#[path = "../../../tests/vendored.rs"]
mod vendored;

#[test]
fn the_vendored_tree_is_the_release_plus_the_patch() {
    let vendor = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vendor");
    let added = ["LICENSE-APACHE", "LICENSE-MIT"];
    vendored::check(&vendor, "wasmi", "lunette.patch", &added);
}
