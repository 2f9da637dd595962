//! Somebody else's native code (`wasmtime compile`), handed over as if it were an app: recognised, and refused by name.

use object::{FileFlags, Object, ObjectSection, read::elf::ElfFile64};

use crate::problem::Problem;

/// What wasmtime writes for the operating system.
const WASMTIME: u8 = 200;
const MODULE: u32 = 1;
/// Where it says which it is.
const ENGINE: &str = ".wasmtime.engine";

/// Why this file is refused, if it is such code.
pub fn refuse(bytes: &[u8]) -> Option<Problem> {
    let file = ElfFile64::<object::Endianness>::parse(bytes).ok()?;
    let FileFlags::Elf { os_abi: WASMTIME, e_flags, .. } = file.flags() else { return None };
    let kind = if e_flags & MODULE != 0 { "module" } else { "component" };
    let version =
        version(&file).map_or_else(|| "an unknown wasmtime".into(), |version| format!("wasmtime {version}"));
    Some(Problem::new(
        format!(
            "it is native code (a {kind}, compiled by {version}), which says nothing of what it was made from"
        ),
        "give the .wasm: `lunette run` and `lunette build --aot` compile it themselves",
    ))
}

/// A byte for the format, the version's length, the version.
fn version<'d>(file: &ElfFile64<'d>) -> Option<&'d str> {
    let data = file.section_by_name(ENGINE)?.data().ok()?;
    let [_, length, rest @ ..] = data else { return None };
    let version = std::str::from_utf8(rest.get(..usize::from(*length))?).ok()?;
    (!version.is_empty() && version.chars().all(|c| c.is_ascii_graphic())).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_its_elf_and_named_by_its_version() {
        let wasm = wat::parse_str("(module (func (export \"_start\")))").unwrap();
        let cpu = lunette_native::Cpu::V1;
        let made =
            lunette_native::compile(&wasm, lunette_native::Variant::default(), cpu, "0".into()).unwrap();
        let problem = refuse(&made.code).unwrap();
        assert!(problem.what.contains("a module, compiled by wasmtime 48"), "{problem}");
        assert!(problem.help.contains(".wasm"));
        for length in 0..made.code.len().min(2000) {
            let _ = refuse(&made.code[..length]);
        }
        assert_eq!(refuse(&std::fs::read(std::env::current_exe().unwrap()).unwrap()), None);
        assert_eq!(refuse(b"\x7fELF"), None);
    }
}
