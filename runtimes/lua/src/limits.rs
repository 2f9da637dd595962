//! What a script may use.

use lunette_hostcalls::Nanos;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that the Lua state may have.
    pub memory: u64,
    /// How long the script may run in all.
    pub time: Option<Nanos>,
    /// How many of the virtual machine's instructions it may execute in all.
    pub fuel: Option<u64>,
    /// May chunks be bytecode? Lua checks none of it, so only for bundles that are trusted like the image.
    pub bytecode: bool,
}
