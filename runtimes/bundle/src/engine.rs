//! What executes a guest's WebAssembly.

/// What a manifest or a run asks for. Scripts know only the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Native code if the bundle has some that fits the machine, else the interpreter.
    #[default]
    Auto,
    /// The interpreter, whatever there is.
    Wasmi,
    /// Native code or nothing.
    Wasmtime,
}

impl Engine {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Wasmi, Self::Wasmtime];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Wasmi => "wasmi",
            Self::Wasmtime => "wasmtime",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }
}
