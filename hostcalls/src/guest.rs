//! What a host can ask of a guest: to run on, until it must wait or ends.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{any::Any, fmt};

use crate::{Interest, Nanos, Source};

/// A started program.
pub trait Guest {
    /// Runs the guest until it has to wait, has used its slice, or ends. Not to be called after
    /// [`Step::Ended`]: it answers the same ending again.
    fn step(&mut self) -> Step;
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing to do before this is due. An empty wait ([`Wait::GIVE_WAY`]) only lets all others go first.
    Wait(Wait),
    Ended(Ending),
}

/// What would let a guest go on: any one of these. The host may step it earlier; that does no harm.
#[derive(Clone, Default)]
pub struct Wait {
    /// When standard input has something (or its end).
    pub stdin: bool,
    /// When the monotonic clock reaches this.
    pub until: Option<Nanos>,
    /// When one of these is ready.
    pub sockets: Vec<(Arc<dyn Source>, Interest)>,
}

impl Wait {
    /// Nothing to wait for: lets all others go first.
    pub const GIVE_WAY: Self = Self { stdin: false, until: Some(0), sockets: Vec::new() };

    pub fn stdin() -> Self {
        Self { stdin: true, ..Self::default() }
    }

    pub fn until(at: Nanos) -> Self {
        Self { until: Some(at), ..Self::default() }
    }

    pub fn socket(socket: Arc<dyn Source>, interest: Interest) -> Self {
        Self { sockets: alloc::vec![(socket, interest)], ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        !self.stdin && self.until.is_none() && self.sockets.is_empty()
    }
}

/// Equal if they wait for the same sockets, not for sockets that are alike.
impl PartialEq for Wait {
    fn eq(&self, other: &Self) -> bool {
        self.stdin == other.stdin
            && self.until == other.until
            && self.sockets.len() == other.sockets.len()
            && (self.sockets.iter().zip(&other.sockets))
                .all(|((a, how), (b, other_how))| Arc::ptr_eq(a, b) && how == other_how)
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interests: Vec<_> = self.sockets.iter().map(|(_, interest)| interest).collect();
        f.debug_struct("Wait")
            .field("stdin", &self.stdin)
            .field("until", &self.until)
            .field("sockets", &interests)
            .finish()
    }
}

/// How a guest ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// It returned (0) or asked to exit with this code.
    Exited(u32),
    /// It did what cannot be done. See [`Trap`].
    Trapped(Trap),
    /// It used up what it was given.
    Stopped(Limit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Time,
    Fuel,
}

/// The end of a guest by its own fault: never the VM's.
#[derive(Clone, Debug, PartialEq)]
pub struct Trap {
    pub kind: TrapKind,
    /// One line: what happened, in the engine's or the host call's words.
    pub message: String,
    /// Innermost frame first; empty where the engine could not tell.
    pub backtrace: Vec<CodeFrame>,
}

impl Trap {
    /// What a panic that was caught said, if it said anything.
    pub fn panic_words(panic: &(dyn Any + Send)) -> Option<&str> {
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapKind {
    Unreachable,
    MemoryOutOfBounds,
    TableOutOfBounds,
    IndirectCallToNull,
    BadSignature,
    IntegerDivisionByZero,
    IntegerOverflow,
    BadConversionToInteger,
    StackOverflow,
    OutOfMemory,
    /// A pointer that a host call was given lies outside of the guest's memory, or is misaligned.
    BadPointer,
    /// A host call panicked: our bug, this guest's end, nobody else's.
    HostPanic,
    Other,
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::MemoryOutOfBounds => "out of bounds memory access",
            Self::TableOutOfBounds => "out of bounds table access",
            Self::IndirectCallToNull => "indirect call to null",
            Self::BadSignature => "indirect call with another signature",
            Self::IntegerDivisionByZero => "integer division by zero",
            Self::IntegerOverflow => "integer overflow",
            Self::BadConversionToInteger => "invalid conversion to integer",
            Self::StackOverflow => "call stack exhausted",
            Self::OutOfMemory => "out of memory",
            Self::BadPointer => "bad pointer in a host call",
            Self::HostPanic => "panic in a host call",
            Self::Other => "trap",
        })
    }
}

/// One function on the guest's stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeFrame {
    /// Its index in the module.
    pub function: u32,
    /// Its name from the name section, if it has one.
    pub name: Option<String>,
    /// The source's file, line and column, where debug information tells: `src/main.rs:12:5`.
    pub place: Option<String>,
}

impl fmt::Display for CodeFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}")?,
            None => write!(f, "<function {}>", self.function)?,
        }
        match &self.place {
            Some(place) => write!(f, " at {place}"),
            None => Ok(()),
        }
    }
}
