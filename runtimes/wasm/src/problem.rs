//! Why a file can't be run, and what to do about it: told by [`crate::examine`] on a developer's machine
//! and by [`crate::start`] where it would have run.
//!
//! `Display` is one line: what, and where. [`Problem::help`] is the remedy. Text that comes from the
//! file (names, mostly) is cut and stripped of control characters before it gets in here.

use std::fmt;

use wasmparser::BinaryReaderError;

use crate::names::one_line;

/// Why a file can't be run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It is something else.
    NotWasm(LooksLike),
    /// It begins as a module and ends too early.
    Truncated { size: usize, offset: usize },
    /// A component, not a module.
    Component,
    /// A module in a version of the format that nobody knows.
    Version(u32),
    /// It uses a part of WebAssembly that our engine leaves out.
    Unsupported { feature: Feature, offset: usize, words: String },
    /// It breaks the rules of the format.
    Invalid { offset: usize, words: String },
    /// It needs what nobody provides. All of them.
    Imports(Vec<BadImport>),
    /// There is nothing to start. What it exports instead.
    NoEntry { reactor: bool, exports: Vec<String> },
    /// `_start` is not a function without parameters and results.
    EntryType { found: String },
    /// Its memories are larger, from the start, than it is allowed. Bytes.
    Memory { needs: u64, allowed: u64 },
    /// Its tables are. Elements.
    Table { needs: u64, allowed: u64 },
    /// It can't be set up, for another reason.
    Setup(String),
}

/// [`crate::start`] refuses a module for the same reasons.
pub type Refusal = Problem;

/// An import that can't be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadImport {
    pub module: String,
    pub name: String,
    /// What the module wants, for example `(i32, i64) -> i32`.
    pub wanted: String,
    /// What there is, where there is something by that name.
    pub provided: Option<String>,
}

impl Problem {
    /// From an error of the parser or validator about this file.
    pub(crate) fn from_parser(error: &BinaryReaderError, wasm: &[u8]) -> Self {
        let (words, offset) = (error.message(), error.offset());
        if let Some(feature) = Feature::of_message(words) {
            return Self::Unsupported { feature, offset, words: one_line(words, 200) };
        }
        if cut_short(wasm) {
            return Self::Truncated { size: wasm.len(), offset };
        }
        Self::Invalid { offset, words: one_line(words, 200) }
    }

    /// What to do about it, in a sentence or two.
    pub fn help(&self) -> String {
        match self {
            Self::NotWasm(looks) => looks.help().into(),
            Self::Truncated { .. } => {
                "copy or build the file again; the download or the copy was cut short".into()
            }
            Self::Component => {
                "components run as native code: `lunette run` compiles them, and `lunette build --aot` makes a \
                bundle with it"
                    .into()
            }
            Self::Version(_) => "build it with a toolchain that writes WebAssembly version 1".into(),
            Self::Unsupported { feature, .. } if feature.native() => {
                format!("native code has it (`lunette run --aot`, `lunette build --aot`); or {}", feature.help())
            }
            Self::Unsupported { feature, .. } => feature.help().into(),
            Self::Invalid { .. } => {
                "the file is damaged or its producer has a bug: build it again, and try `wasm-tools validate`"
                    .into()
            }
            Self::Imports(bad) => imports_help(bad),
            Self::NoEntry { reactor: true, .. } => "this is a reactor, a library for a host that calls its \
                exports. Build a command instead: a Rust binary crate rather than a cdylib, clang without \
                `-mexec-model=reactor`, Go without `-buildmode=c-shared`"
                .into(),
            Self::NoEntry { reactor: false, .. } => {
                "export a function `_start` without parameters and results: \
                a `main` does, built for wasm32-wasip1"
                    .into()
            }
            Self::EntryType { .. } => {
                "`_start` takes nothing and returns nothing; the exit code is given with \
                `proc_exit`"
                    .into()
            }
            Self::Memory { needs, .. } => format!(
                "give it more memory (`-m {}Mi` or more), or link it with a \
                smaller initial memory or stack",
                (needs >> 20).saturating_add(1)
            ),
            Self::Table { .. } => "raise the limit on table elements".into(),
            Self::Setup(_) => "try `lunette check` on it".into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWasm(looks) => write!(f, "not a WebAssembly module: {}", looks.words()),
            Self::Truncated { size, .. } => {
                write!(f, "the module is cut short: it ends in the middle, after {size} bytes")
            }
            Self::Component => f.write_str("a component, not a core module"),
            Self::Version(version) => write!(f, "WebAssembly format version {version}, where 1 is expected"),
            Self::Unsupported { feature, offset, words } => {
                write!(
                    f,
                    "the module uses {}, which is not supported (at byte {offset:#x}: {words})",
                    feature.name()
                )
            }
            Self::Invalid { offset, words } => {
                write!(f, "the module is not valid: {words} (at byte {offset:#x})")
            }
            Self::Imports(bad) => {
                f.write_str(if bad.len() == 1 {
                    "an import can't be met: "
                } else {
                    "imports can't be met: "
                })?;
                for (n, import) in bad.iter().enumerate() {
                    if n > 0 {
                        f.write_str("; ")?;
                    }
                    write!(f, "{import}")?;
                }
                Ok(())
            }
            Self::NoEntry { reactor, exports } => {
                f.write_str(if *reactor {
                    "the module has `_initialize` but no `_start`"
                } else {
                    "the module has no `_start`: there is nothing to run"
                })?;
                match exports.len() {
                    0 => f.write_str(" (it exports no functions)"),
                    n => {
                        let shown = exports.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
                        let more = if n > 8 { ", …" } else { "" };
                        write!(f, " (it exports {n} functions: {shown}{more})")
                    }
                }
            }
            Self::EntryType { found } => write!(f, "`_start` is {found}, where () -> () is expected"),
            Self::Memory { needs, allowed } => {
                write!(f, "the module needs {needs} bytes of memory to start and is allowed {allowed}")
            }
            Self::Table { needs, allowed } => {
                write!(f, "the module needs {needs} table elements to start and is allowed {allowed}")
            }
            Self::Setup(words) => write!(f, "the module can't be set up: {words}"),
        }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for BadImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, name, wanted, provided } = self;
        match provided {
            Some(provided) => write!(f, "{module}::{name} is wanted as {wanted} and provided as {provided}"),
            None => write!(f, "{module}::{name} {wanted} is provided by nobody"),
        }
    }
}

/// Does the file end before its last section does, or where functions still lack their code?
fn cut_short(wasm: &[u8]) -> bool {
    const FUNCTION: u8 = 3;
    const CODE: u8 = 10;
    let (mut rest, mut functions, mut code) = (wasm.get(8..).unwrap_or_default(), false, false);
    while let [id, size @ ..] = rest {
        // LEB128, as all sizes.
        let (mut len, mut shift) = (0_u64, 0);
        let mut bytes = size.iter();
        loop {
            let Some(byte) = bytes.next() else { return true };
            len |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                return false;
            }
        }
        functions |= *id == FUNCTION;
        code |= *id == CODE;
        match usize::try_from(len).ok().and_then(|len| bytes.as_slice().get(len..)) {
            Some(after) => rest = after,
            None => return true,
        }
    }
    functions && !code
}

/// Import modules that give away what a file was built for.
fn imports_help(bad: &[BadImport]) -> String {
    let from = |module: &str| bad.iter().any(|import| import.module == module);
    let named = |part: &str| bad.iter().any(|import| import.module.contains(part));
    if from("wasi_unstable") {
        "built for a preview of WASI from before 2020: build it again with a current wasi-sdk, Rust \
         (`--target wasm32-wasip1`) or TinyGo, which import `wasi_snapshot_preview1`"
    } else if bad.iter().any(|import| import.module == "wasi" && import.name == "thread-spawn") {
        "built with threads: build it for wasm32-wasip1 instead of wasm32-wasip1-threads"
    } else if named("wasix") {
        "built for WASIX: build it for wasm32-wasip1, without WASIX"
    } else if named("wbindgen") || from("wbg") {
        "built for a browser with wasm-bindgen: build it with `--target wasm32-wasip1` and without wasm-bindgen"
    } else if from("gojs") || from("go") {
        "built for a browser: build it with `GOOS=wasip1 GOARCH=wasm go build`"
    } else if bad.iter().any(|import| import.name.starts_with("__linear_memory") || import.name == "__indirect_function_table")
    {
        "this is an object file, one input of a linker: link it, for example with `clang --target=wasm32-wasip1`"
    } else if from("env") || from("a") {
        "functions of `env` come from elsewhere: link the library that has them, or build with emscripten's \
         `-sSTANDALONE_WASM`"
    } else if bad.iter().any(|import| import.module.starts_with("wasi:")) {
        "this is the inside of a component: make it one with `wasm-tools component new`, or give the component that it \
         was made into"
    } else if bad.iter().any(|import| import.provided.is_some()) {
        "the types must be those of WASI preview 1: build it again with a current wasi-sdk or Rust target \
         wasm32-wasip1"
    } else {
        "only functions of `wasi_snapshot_preview1` are provided: link what is missing into the module"
    }
    .into()
}

macro_rules! features {
    ($($(#[doc = $doc:literal])? $feature:ident: $name:literal, $help:literal;)*) => {
        /// Parts of WebAssembly that our engine leaves out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Feature { $($(#[doc = $doc])? $feature,)* }

        impl Feature {
            pub const ALL: &[Self] = &[$(Self::$feature,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$feature => $name,)* }
            }

            /// How to build without it.
            pub fn help(self) -> &'static str {
                match self { $(Self::$feature => $help,)* }
            }
        }
    };
}

features! {
    Simd: "SIMD (fixed-width vectors)",
        "build without: Rust `-C target-feature=-simd128`, clang and emscripten `-mno-simd128`, Go does not use it";
    RelaxedSimd: "relaxed SIMD",
        "build without: Rust `-C target-feature=-relaxed-simd,-simd128`, clang `-mno-relaxed-simd -mno-simd128`";
    Exceptions: "exception handling",
        "build without: C++ `-fno-exceptions` (and no `-fwasm-exceptions`), Rust `-C panic=abort` and no \
         `-C target-feature=+exception-handling`, no `-mllvm -wasm-enable-sjlj`";
    Threads: "threads (shared memory, atomics)",
        "build without: the target wasm32-wasip1 instead of wasm32-wasip1-threads, Rust `-C target-feature=-atomics`, \
         clang without `-pthread`";
    Gc: "garbage-collected types",
        "languages that compile to Wasm GC (Kotlin, Dart, Java, OCaml) are not supported: use a build for \
         linear memory if there is one";
    FunctionReferences: "typed function references",
        "build without: the feature `function-references` (GC languages need it)";
    Memory64: "64-bit memories",
        "build for a 32-bit target: wasm32-wasip1 instead of wasm64";
    CustomPageSizes: "custom page sizes",
        "build without: no `--page-size` for the linker";
    WideArithmetic: "wide arithmetic",
        "build without: Rust `-C target-feature=-wide-arithmetic`, clang `-mno-wide-arithmetic`";
    StackSwitching: "stack switching",
        "build without the stack-switching proposal";
}

impl Feature {
    /// Has the engine for native code what the interpreter leaves out?
    pub fn native(self) -> bool {
        match self {
            Self::Simd | Self::RelaxedSimd | Self::Exceptions | Self::Gc | Self::FunctionReferences => true,
            Self::Threads
            | Self::Memory64
            | Self::CustomPageSizes
            | Self::WideArithmetic
            | Self::StackSwitching => false,
        }
    }

    /// The parser and the validator say in words what they miss. (A test has each of them said.)
    pub fn of_message(words: &str) -> Option<Self> {
        const WORDS: &[(&str, Feature)] = &[
            ("relaxed SIMD support", Feature::RelaxedSimd),
            ("SIMD support", Feature::Simd),
            ("SIMD index", Feature::Simd),
            ("unexpected SIMD opcode", Feature::Simd),
            ("exceptions support", Feature::Exceptions),
            ("exceptions proposal", Feature::Exceptions),
            ("legacy exceptions", Feature::Exceptions),
            ("legacy_exceptions", Feature::Exceptions),
            ("threads support", Feature::Threads),
            ("threads must be enabled", Feature::Threads),
            ("shared-everything-threads", Feature::Threads),
            ("shared everything threads", Feature::Threads),
            ("shared reference types", Feature::Threads),
            ("shared composite types", Feature::Threads),
            ("function references", Feature::FunctionReferences),
            ("function-references proposal", Feature::FunctionReferences),
            ("memory64 must be enabled", Feature::Memory64),
            ("custom page sizes", Feature::CustomPageSizes),
            ("wide arithmetic support", Feature::WideArithmetic),
            ("stack switching", Feature::StackSwitching),
            ("stack-switching", Feature::StackSwitching),
            ("continuation", Feature::StackSwitching),
            ("gc support", Feature::Gc),
            ("gc proposal", Feature::Gc),
            ("`gc` proposal", Feature::Gc),
            ("without the gc feature", Feature::Gc),
            ("global.get of locally defined global", Feature::Gc),
        ];
        WORDS.iter().find(|(part, _)| words.contains(part)).map(|(_, feature)| *feature)
    }
}

/// What a file that is no wasm looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LooksLike {
    Empty,
    /// The beginning of the magic number and nothing more.
    Stub,
    Elf,
    Pe,
    MachO,
    /// A compiler's intermediate code.
    LlvmBitcode,
    /// A static library.
    Archive,
    Gzip,
    Zip,
    Xz,
    Zstd,
    Tar,
    /// WebAssembly text.
    Wat,
    Shell,
    Script,
    Lua,
    Html,
    Json,
    Text,
    Unknown,
}

impl LooksLike {
    /// Looks at the first bytes.
    pub fn guess(bytes: &[u8]) -> Self {
        const MAGIC: &[(&[u8], LooksLike)] = &[
            (b"\x7fELF", LooksLike::Elf),
            (b"MZ", LooksLike::Pe),
            (b"\xcf\xfa\xed\xfe", LooksLike::MachO),
            (b"\xca\xfe\xba\xbe", LooksLike::MachO),
            (b"BC\xc0\xde", LooksLike::LlvmBitcode),
            (b"!<arch>\n", LooksLike::Archive),
            (b"\x1f\x8b", LooksLike::Gzip),
            (b"PK\x03\x04", LooksLike::Zip),
            (b"\xfd7zXZ\0", LooksLike::Xz),
            (b"\x28\xb5\x2f\xfd", LooksLike::Zstd),
            (b"\x1bLua", LooksLike::Lua),
        ];
        if bytes.is_empty() {
            return Self::Empty;
        }
        if bytes.len() < 8 && b"\0asm\x01\0\0\0".starts_with(bytes) {
            return Self::Stub;
        }
        if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return *kind;
        }
        if bytes.get(257..262) == Some(b"ustar") {
            return Self::Tar;
        }
        let head = &bytes[..bytes.len().min(1024)];
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            // The cut may be in the middle of a character.
            Err(error) if error.error_len().is_none() => {
                std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return Self::Unknown,
        };
        if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return Self::Unknown;
        }
        Self::guess_text(text.trim_start_matches('\u{feff}').trim_start())
    }

    fn guess_text(text: &str) -> Self {
        let code = text.lines().map(str::trim_start);
        let starts =
            |prefixes: &[&str]| code.clone().any(|line| prefixes.iter().any(|p| line.starts_with(p)));
        if let Some(shebang) = text.strip_prefix("#!") {
            let first = shebang.lines().next().unwrap_or_default();
            return if first.contains("lua") {
                Self::Lua
            } else if first.contains("sh") {
                Self::Shell
            } else {
                Self::Script
            };
        }
        if starts(&["(module", "(component"]) {
            Self::Wat
        } else if starts(&["<!DOCTYPE", "<!doctype", "<html"]) {
            Self::Html
        } else if text.starts_with(['{', '[']) {
            Self::Json
        } else if starts(&[
            "local ",
            "--[[",
            "print(",
            "print\"",
            "print \"",
            "require(",
            "return function",
            "function ",
        ]) && !text.contains("function (")
        {
            Self::Lua
        } else {
            Self::Text
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Empty => "the file is empty",
            Self::Stub => "the file ends within the first eight bytes",
            Self::Elf => "it looks like a native program or library (ELF)",
            Self::Pe => "it looks like a Windows program",
            Self::MachO => "it looks like a macOS program or a Java class",
            Self::LlvmBitcode => "it looks like LLVM bitcode",
            Self::Archive => "it looks like a static library (.a)",
            Self::Gzip => "it looks like a gzip file",
            Self::Zip => "it looks like a zip file",
            Self::Xz => "it looks like an xz file",
            Self::Zstd => "it looks like a zstd file",
            Self::Tar => "it looks like a tar archive",
            Self::Wat => "it looks like WebAssembly text (.wat)",
            Self::Shell => "it looks like a shell script",
            Self::Script => "it looks like a script",
            Self::Lua => "it looks like a Lua script",
            Self::Html => "it looks like a web page",
            Self::Json => "it looks like JSON",
            Self::Text => "it looks like text",
            Self::Unknown => "it does not begin with `\\0asm`",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Empty | Self::Stub => "build or copy the file again",
            Self::Elf | Self::Pe | Self::MachO => {
                "build it for WebAssembly: `cargo build --target wasm32-wasip1`, or clang with `--target=wasm32-wasip1`"
            }
            Self::LlvmBitcode | Self::Archive => {
                "link it into a module, for example with `clang --target=wasm32-wasip1`"
            }
            Self::Gzip => "unpack it first: `gunzip`, or `tar xzf`",
            Self::Zip => "unpack it first: `unzip`",
            Self::Xz => "unpack it first: `xz -d`, or `tar xJf`",
            Self::Zstd => "unpack it first: `zstd -d`",
            Self::Tar => "unpack it first (`tar xf`); a bundle made by `lunette build` is run as it is",
            Self::Wat => "translate it first: `wat2wasm`, or `wasm-tools parse`",
            Self::Lua => "give it a name that ends in .lua",
            Self::Html => {
                "this is probably an error page that was downloaded instead of the file: look into it"
            }
            Self::Shell | Self::Script | Self::Json | Self::Text | Self::Unknown => {
                "give it a `.wasm` file, built for wasm32-wasip1"
            }
        }
    }
}
