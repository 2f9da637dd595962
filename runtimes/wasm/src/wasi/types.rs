//! Numbers and layouts of wasi_snapshot_preview1 (typenames.witx): what a guest sends, checked and given a
//! meaning, and what it gets, laid out. After this file nonsense can't be expressed.

use lunette_hostcalls::{Errno, FileKind, Stat};

/// `filetype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Filetype {
    Unknown = 0,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl From<FileKind> for Filetype {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::Directory => Self::Directory,
            FileKind::File => Self::RegularFile,
            FileKind::Symlink => Self::SymbolicLink,
        }
    }
}

/// `rights`: what may be done with a descriptor. A guest has them as 64 bits, of which the upper half means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights(u32);

macro_rules! rights {
    ($($name:ident)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Bit { $($name,)* COUNT }

        // Not every one is asked for by name.
        #[allow(dead_code)]
        impl Rights {
            $(pub(super) const $name: Self = Self(1 << Bit::$name as u32);)*
            pub(super) const ALL: Self = Self((1 << Bit::COUNT as u32) - 1);
        }
    };
}

// In the order of the bits.
rights! {
    FD_DATASYNC FD_READ FD_SEEK FD_FDSTAT_SET_FLAGS FD_SYNC FD_TELL FD_WRITE FD_ADVISE FD_ALLOCATE
    PATH_CREATE_DIRECTORY PATH_CREATE_FILE PATH_LINK_SOURCE PATH_LINK_TARGET PATH_OPEN FD_READDIR
    PATH_READLINK PATH_RENAME_SOURCE PATH_RENAME_TARGET PATH_FILESTAT_GET PATH_FILESTAT_SET_SIZE
    PATH_FILESTAT_SET_TIMES FD_FILESTAT_GET FD_FILESTAT_SET_SIZE FD_FILESTAT_SET_TIMES PATH_SYMLINK
    PATH_REMOVE_DIRECTORY PATH_UNLINK_FILE POLL_FD_READWRITE SOCK_SHUTDOWN SOCK_ACCEPT
}

impl Rights {
    pub(super) const NONE: Self = Self(0);
    /// What a file is opened for.
    pub(super) const READ_WRITE: Self = Self::FD_READ.or(Self::FD_WRITE);
    /// What means something for a file.
    pub(super) const FILE: Self = Self::FD_DATASYNC
        .or(Self::FD_READ)
        .or(Self::FD_SEEK)
        .or(Self::FD_FDSTAT_SET_FLAGS)
        .or(Self::FD_SYNC)
        .or(Self::FD_TELL)
        .or(Self::FD_WRITE)
        .or(Self::FD_ADVISE)
        .or(Self::FD_ALLOCATE)
        .or(Self::FD_FILESTAT_GET)
        .or(Self::FD_FILESTAT_SET_SIZE)
        .or(Self::FD_FILESTAT_SET_TIMES)
        .or(Self::POLL_FD_READWRITE);
    /// What means something for a directory.
    pub(super) const DIRECTORY: Self = Self::PATH_CREATE_DIRECTORY
        .or(Self::PATH_CREATE_FILE)
        .or(Self::PATH_LINK_SOURCE)
        .or(Self::PATH_LINK_TARGET)
        .or(Self::PATH_OPEN)
        .or(Self::FD_READDIR)
        .or(Self::PATH_READLINK)
        .or(Self::PATH_RENAME_SOURCE)
        .or(Self::PATH_RENAME_TARGET)
        .or(Self::PATH_FILESTAT_GET)
        .or(Self::PATH_FILESTAT_SET_SIZE)
        .or(Self::PATH_FILESTAT_SET_TIMES)
        .or(Self::PATH_SYMLINK)
        .or(Self::PATH_REMOVE_DIRECTORY)
        .or(Self::PATH_UNLINK_FILE)
        .or(Self::FD_SYNC)
        .or(Self::FD_DATASYNC)
        .or(Self::FD_FILESTAT_GET)
        .or(Self::FD_FILESTAT_SET_TIMES);
    /// What standard input comes with. Neither FD_SEEK nor FD_TELL: wasi-libc's `isatty` looks for those.
    pub(super) const STDIN: Self = Self::FD_READ.or(Self::STREAM);
    /// What standard output and error come with.
    pub(super) const STDOUT: Self = Self::FD_WRITE.or(Self::STREAM);
    /// What a socket that listens comes with; reading is for `poll_oneoff`.
    pub(super) const LISTENER: Self = Self::STDIN.or(Self::SOCK_ACCEPT);
    /// What a connection comes with.
    pub(super) const CONNECTION: Self = Self::READ_WRITE.or(Self::STREAM).or(Self::SOCK_SHUTDOWN);
    const STREAM: Self = Self::FD_FDSTAT_SET_FLAGS.or(Self::FD_FILESTAT_GET).or(Self::POLL_FD_READWRITE);

    /// Reads a guest's word: [`Errno::Inval`] for bits that mean nothing.
    pub(super) fn decode(bits: u64) -> Result<Self, Errno> {
        if bits & !u64::from(Self::ALL.0) == 0 { Ok(Self(bits as u32)) } else { Err(Errno::Inval) }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// All of `other`?
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

macro_rules! flags {
    ($(#[$about:meta])* $name:ident { $($flag:ident = $bit:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) struct $name(pub(super) u16);

        // Some flags are only decoded: what they ask for is so anyway.
        #[allow(dead_code)]
        impl $name {
            $(pub(super) const $flag: Self = Self($bit);)*

            /// Reads a guest's word: [`Errno::Inval`] for bits that mean nothing.
            pub(super) fn decode(bits: u32) -> Result<Self, Errno> {
                const ALL: u32 = 0 $(| $bit)*;
                if bits & !ALL == 0 { Ok(Self(bits as u16)) } else { Err(Errno::Inval) }
            }

            /// Any of `other`?
            pub(super) fn has(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            /// None but `other`?
            pub(super) fn only(self, other: Self) -> bool {
                self.0 & !other.0 == 0
            }
        }
    };
}

flags! { /// `fdflags`.
Fdflags { APPEND = 1, DSYNC = 2, NONBLOCK = 4, RSYNC = 8, SYNC = 16, } }
flags! { /// `oflags`.
Oflags { CREAT = 1, DIRECTORY = 2, EXCL = 4, TRUNC = 8, } }
flags! { /// `fstflags`.
Fstflags { ATIM = 1, ATIM_NOW = 2, MTIM = 4, MTIM_NOW = 8, } }
flags! { /// `lookupflags`.
Lookupflags { SYMLINK_FOLLOW = 1, } }
flags! { /// `subclockflags`.
Subclockflags { ABSTIME = 1, } }
flags! { /// `riflags`.
Riflags { PEEK = 1, WAITALL = 2, } }
flags! { /// `sdflags`.
Sdflags { RD = 1, WR = 2, } }

impl Riflags {
    pub(super) const NONE: Self = Self(0);
}

impl Fdflags {
    pub(super) const NONE: Self = Self(0);
    const SYNCS: u16 = Self::DSYNC.0 | Self::RSYNC.0 | Self::SYNC.0;

    /// The part that is chosen when a file is opened, for good.
    pub(super) fn syncs(self) -> u16 {
        self.0 & Self::SYNCS
    }
}

/// `clockid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clockid {
    Realtime,
    Monotonic,
    /// Of the process or the thread.
    Cputime,
}

impl Clockid {
    pub(super) fn decode(id: u32) -> Result<Self, Errno> {
        match id {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 | 3 => Ok(Self::Cputime),
            _ => Err(Errno::Inval),
        }
    }
}

/// `whence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whence {
    Set,
    Current,
    End,
}

impl Whence {
    pub(super) fn decode(whence: u32) -> Result<Self, Errno> {
        match whence {
            0 => Ok(Self::Set),
            1 => Ok(Self::Current),
            2 => Ok(Self::End),
            _ => Err(Errno::Inval),
        }
    }
}

/// `fdstat`: 24 bytes, aligned to 8.
pub(super) fn fdstat(kind: Filetype, flags: Fdflags, base: Rights, inheriting: Rights) -> [u8; 24] {
    let mut out = [0; 24];
    out[0] = kind as u8;
    out[2..4].copy_from_slice(&flags.0.to_le_bytes());
    out[8..16].copy_from_slice(&u64::from(base.0).to_le_bytes());
    out[16..24].copy_from_slice(&u64::from(inheriting.0).to_le_bytes());
    out
}

/// `filestat`: 64 bytes, aligned to 8.
pub(super) fn filestat(stat: &Stat) -> [u8; 64] {
    let mut out = [0; 64];
    out[16] = Filetype::from(stat.kind) as u8;
    let words = [
        (0, stat.device),
        (8, stat.inode),
        (24, stat.links),
        (32, stat.size),
        (40, stat.accessed),
        (48, stat.modified),
        (56, stat.changed),
    ];
    for (at, word) in words {
        out[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// `filestat` of a stream, which has no more than a type.
pub(super) fn filestat_of_stream(kind: Filetype) -> [u8; 64] {
    let mut out = [0; 64];
    out[16] = kind as u8;
    out
}

/// `dirent`, without the name that follows it: 24 bytes, not aligned.
pub(super) fn dirent(next: u64, inode: u64, name_length: u32, kind: Filetype) -> [u8; 24] {
    let mut out = [0; 24];
    out[0..8].copy_from_slice(&next.to_le_bytes());
    out[8..16].copy_from_slice(&inode.to_le_bytes());
    out[16..20].copy_from_slice(&name_length.to_le_bytes());
    out[20] = kind as u8;
    out
}
