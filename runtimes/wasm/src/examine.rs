//! What a module is, needs and brings, without running it.
//!
//! Promises: the whole module is validated, function bodies included, with the features of our own engine:
//! what passes here, [`crate::start`] does not refuse for its format, and no call in it fails for its code.
//! Nothing in the report can hurt a terminal: names are cut and stripped of control characters.

use wasmparser::{
    CompositeInnerType, ExternalKind, FuncType, KnownCustom, MemoryType, Parser, Payload, TableType, TypeRef,
    ValType, Validator,
};

use crate::{
    engine::features,
    names::one_line,
    problem::{BadImport, LooksLike, Problem},
    wasi::{self, Function},
};

/// What [`examine`] found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub size: usize,
    pub imports: Vec<Import>,
    pub exports: Vec<Export>,
    /// How many functions it has of its own.
    pub functions: u32,
    /// Its own and the imported.
    pub memories: Vec<Memory>,
    pub tables: Vec<Table>,
    pub data: Data,
    /// Has it a start function, run before everything else?
    pub start: bool,
    /// Are there names for its functions? Without them a backtrace shows numbers.
    pub names: bool,
    /// Has it debug information (DWARF)? It is not used when the module runs.
    pub debug: bool,
    /// What made it: `("language", "Rust")`, `("processed-by", "clang 20.1")`, `("sdk", …)`.
    pub producers: Vec<(String, String)>,
    /// In the order of the file.
    pub sections: Vec<Section>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub module: String,
    pub name: String,
    /// Its type: `(i32, i32) -> i32`, `a memory`.
    pub ty: String,
    pub provided: Provided,
}

/// Do we provide an import?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provided {
    Yes,
    /// There is something by that name, of this type.
    WithAnotherType(String),
    /// The module is known, the name is not.
    No,
    /// Nothing comes from that module.
    UnknownModule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    pub name: String,
    pub ty: String,
}

/// Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    pub minimum: u64,
    pub maximum: Option<u64>,
}

/// Sizes in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub minimum: u64,
    pub maximum: Option<u64>,
}

/// Data segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub segments: u32,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// `code`, `data`, `custom name` …
    pub name: String,
    pub offset: usize,
    pub size: usize,
}

/// Validates a module and says what is in it. A module that is fine but can't be started for what it imports
/// or exports has a report: [`Report::check`] tells.
pub fn examine(bytes: &[u8]) -> Result<Report, Problem> {
    header(bytes)?;
    let problem = |error| Problem::from_parser(&error, bytes);
    Validator::new_with_features(features()).validate_all(bytes).map_err(problem)?;
    report(bytes).map_err(problem)
}

/// The same report without the validation: of a module that another engine runs, which may be of more features.
pub fn describe(bytes: &[u8]) -> Result<Report, Problem> {
    header(bytes)?;
    report(bytes).map_err(|error| Problem::from_parser(&error, bytes))
}

/// Is it a core module, by its first eight bytes?
/// Is it a component, by its header?
pub fn is_component(bytes: &[u8]) -> bool {
    header(bytes) == Err(Problem::Component)
}

pub(crate) fn header(bytes: &[u8]) -> Result<(), Problem> {
    match bytes {
        [b'\0', b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Err(Problem::Component),
        [b'\0', b'a', b's', b'm', a, b, c, d, ..] => {
            Err(Problem::Version(u32::from_le_bytes([*a, *b, *c, *d])))
        }
        other => Err(Problem::NotWasm(LooksLike::guess(other))),
    }
}

impl Report {
    /// Would [`crate::start`] find all that it needs? Limits aside.
    pub fn check(&self) -> Result<(), Problem> {
        let bad = self.imports.iter().filter(|import| import.provided != Provided::Yes);
        let bad: Vec<_> = bad
            .map(|import| BadImport {
                module: import.module.clone(),
                name: import.name.clone(),
                wanted: import.ty.clone(),
                provided: match &import.provided {
                    Provided::WithAnotherType(ty) => Some(ty.clone()),
                    _ => None,
                },
            })
            .collect();
        if !bad.is_empty() {
            return Err(Problem::Imports(bad));
        }
        entry(self.exports.iter().map(|export| (export.name.as_str(), export.ty.as_str())))
    }

    /// Bytes of memory that it needs to start.
    pub fn memory(&self) -> u64 {
        self.memories.iter().fold(0, |sum, memory| sum.saturating_add(memory.minimum))
    }
}

/// Is there something to run, by the exports' names and types?
pub(crate) fn entry<'a>(exports: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Result<(), Problem> {
    let ty_of = |wanted| exports.clone().find(|(name, _)| *name == wanted).map(|(_, ty)| ty);
    match ty_of("_start") {
        Some("()") => Ok(()),
        Some(other) => Err(Problem::EntryType { found: other.to_owned() }),
        None => Err(Problem::NoEntry {
            reactor: ty_of("_initialize").is_some(),
            exports: exports
                .filter(|(_, ty)| ty.starts_with('('))
                .map(|(name, _)| one_line(name, 100))
                .collect(),
        }),
    }
}

/// What a module contains.
fn report(bytes: &[u8]) -> wasmparser::Result<Report> {
    let mut report = Report { size: bytes.len(), ..Report::default() };
    let mut types: Vec<FuncType> = Vec::new();
    // Types of functions, imported ones first.
    let mut functions: Vec<u32> = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Some((id, range)) = payload.as_section() {
            report.sections.push(Section {
                name: match &payload {
                    Payload::CustomSection(section) => format!("custom {}", one_line(section.name(), 60)),
                    _ => section_name(id).into(),
                },
                offset: range.start,
                size: range.len(),
            });
        }
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    types.extend(group?.into_types().map(|ty| match ty.composite_type.inner {
                        CompositeInnerType::Func(ty) => ty,
                        // Nothing that is said here is of such a type; it only has a number.
                        _ => FuncType::new([], []),
                    }));
                }
            }
            Payload::ImportSection(section) => {
                for import in section {
                    let import = import?;
                    match import.ty {
                        TypeRef::Func(ty) => functions.push(ty),
                        TypeRef::Memory(ty) => report.memories.push(memory(&ty)),
                        TypeRef::Table(ty) => report.tables.push(table(&ty)),
                        _ => {}
                    }
                    let provided = provided(import.module, import.name, import.ty, &types);
                    report.imports.push(Import {
                        module: one_line(import.module, 100),
                        name: one_line(import.name, 100),
                        ty: type_words(import.ty, &types),
                        provided,
                    });
                }
            }
            Payload::FunctionSection(section) => {
                report.functions = section.count();
                functions.extend(section.into_iter().collect::<wasmparser::Result<Vec<_>>>()?);
            }
            Payload::TableSection(section) => {
                for ty in section {
                    report.tables.push(table(&ty?.ty));
                }
            }
            Payload::MemorySection(section) => {
                for ty in section {
                    report.memories.push(memory(&ty?));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let ty = match export.kind {
                        ExternalKind::Func => {
                            let ty =
                                functions.get(export.index as usize).and_then(|ty| types.get(*ty as usize));
                            ty.map_or_else(|| "a function".into(), func_words)
                        }
                        ExternalKind::Table => "a table".into(),
                        ExternalKind::Memory => "a memory".into(),
                        ExternalKind::Global => "a global".into(),
                        ExternalKind::Tag => "a tag".into(),
                    };
                    report.exports.push(Export { name: one_line(export.name, 100), ty });
                }
            }
            Payload::StartSection { .. } => report.start = true,
            Payload::DataSection(section) => {
                report.data.segments = section.count();
                for data in section {
                    report.data.bytes += data?.data.len() as u64;
                }
            }
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::Name(_) => report.names = true,
                KnownCustom::Producers(fields) => {
                    // A damaged custom section is no error.
                    for field in fields.into_iter().map_while(Result::ok) {
                        for value in field.values.into_iter().map_while(Result::ok) {
                            let words = format!("{} {}", value.name, value.version);
                            report.producers.push((one_line(field.name, 60), one_line(words.trim(), 100)));
                        }
                    }
                }
                _ => report.debug |= section.name().starts_with(".debug_"),
            },
            _ => {}
        }
    }
    Ok(report)
}

fn provided(module: &str, name: &str, ty: TypeRef, types: &[FuncType]) -> Provided {
    if module != wasi::MODULE {
        return Provided::UnknownModule;
    }
    let Some(function) = Function::find(name) else { return Provided::No };
    let words = function.type_words();
    if type_words(ty, types) == words { Provided::Yes } else { Provided::WithAnotherType(words) }
}

fn type_words(ty: TypeRef, types: &[FuncType]) -> String {
    match ty {
        TypeRef::Func(ty) => types.get(ty as usize).map_or_else(|| "a function".into(), func_words),
        TypeRef::Table(_) => "a table".into(),
        TypeRef::Memory(_) => "a memory".into(),
        TypeRef::Global(_) => "a global".into(),
        TypeRef::Tag(_) => "a tag".into(),
    }
}

/// `(i32, i64) -> i32`, `()`.
fn func_words(ty: &FuncType) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match ty.results() {
        [] => format!("({})", list(ty.params())),
        [one] => format!("({}) -> {one}", list(ty.params())),
        more => format!("({}) -> ({})", list(ty.params()), list(more)),
    }
}

fn memory(ty: &MemoryType) -> Memory {
    let bytes = |pages: u64| pages.saturating_mul(1 << ty.page_size_log2.unwrap_or(16));
    Memory { minimum: bytes(ty.initial), maximum: ty.maximum.map(bytes) }
}

fn table(ty: &TableType) -> Table {
    Table { minimum: ty.initial, maximum: ty.maximum }
}

fn section_name(id: u8) -> &'static str {
    const NAMES: [&str; 13] = [
        "custom",
        "type",
        "import",
        "function",
        "table",
        "memory",
        "global",
        "export",
        "start",
        "element",
        "code",
        "data",
        "data count",
    ];
    NAMES.get(usize::from(id)).copied().unwrap_or("unknown")
}
