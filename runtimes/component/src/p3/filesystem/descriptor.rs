//! What an open file or directory is, and how 0.3 says what is asked of it and what it is. `crate::files` does the rest.

use std::hash::{DefaultHasher, Hash, Hasher};

use lunette_hostcalls::{Errno, FileKind, Nanos, Preopen, Stat};

use crate::{
    files::{Held, Open},
    p3::{
        bindings::wasi::filesystem::types::{
            DescriptorFlags, DescriptorStat, DescriptorType, MetadataHashValue, NewTimestamp, OpenFlags,
        },
        clocks::{instant, nanos},
    },
};

/// An open file or directory.
pub struct Descriptor {
    pub(super) held: Held,
    directory: bool,
    pub(super) flags: DescriptorFlags,
}

impl Descriptor {
    pub(super) fn preopened(preopen: &Preopen) -> Self {
        let held = Held::new(&preopen.files, preopen.root);
        let mut flags = DescriptorFlags::READ;
        if held.writable() {
            flags |= DescriptorFlags::MUTATE_DIRECTORY;
        }
        Self { held, directory: true, flags }
    }

    /// The directory that names are looked for in.
    pub(super) fn directory(&self) -> Result<&Held, Errno> {
        if self.directory { Ok(&self.held) } else { Err(Errno::Notdir) }
    }

    /// The file that is open for `access`; [`Errno::Badf`] for everything else.
    pub(super) fn file(&self, access: DescriptorFlags) -> Result<&Held, Errno> {
        if self.directory || !self.flags.contains(access) { Err(Errno::Badf) } else { Ok(&self.held) }
    }

    /// Opens a file or directory, or makes a file. Who makes one or cuts it off may write it; who does not ask to write may
    /// read.
    pub(super) fn open(
        &self,
        path: &str,
        follow: bool,
        how: OpenFlags,
        flags: DescriptorFlags,
        now: Nanos,
    ) -> Result<Self, Errno> {
        let write = flags.contains(DescriptorFlags::WRITE);
        let open = Open {
            follow,
            create: how.contains(OpenFlags::CREATE),
            directory: how.contains(OpenFlags::DIRECTORY),
            exclusive: how.contains(OpenFlags::EXCLUSIVE),
            truncate: how.contains(OpenFlags::TRUNCATE),
            write,
        };
        let (held, kind) = self.directory()?.open(path, open, now)?;
        let directory = kind == FileKind::Directory;
        if directory && flags.contains(DescriptorFlags::MUTATE_DIRECTORY) && !held.writable() {
            return Err(Errno::Rofs);
        }
        let mut given = if directory { flags } else { flags & !DescriptorFlags::MUTATE_DIRECTORY };
        if !write {
            given |= DescriptorFlags::READ;
        }
        if (open.create || open.truncate) && held.writable() {
            given |= DescriptorFlags::WRITE;
        }
        Ok(Self { held, directory, flags: given })
    }
}

/// An offset: [`Errno::Inval`] past what POSIX can say.
pub(super) fn offset(offset: u64) -> Result<u64, Errno> {
    i64::try_from(offset).map(|_| offset).map_err(|_| Errno::Inval)
}

pub(super) fn time(new: NewTimestamp, now: Nanos) -> Result<Option<Nanos>, Errno> {
    match new {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(now)),
        NewTimestamp::Timestamp(at) => nanos(at).map(Some).ok_or(Errno::Overflow),
    }
}

pub(super) fn kind(kind: FileKind) -> DescriptorType {
    match kind {
        FileKind::Directory => DescriptorType::Directory,
        FileKind::File => DescriptorType::RegularFile,
        FileKind::Symlink => DescriptorType::SymbolicLink,
    }
}

pub(super) fn told(stat: &Stat) -> DescriptorStat {
    DescriptorStat {
        type_: kind(stat.kind),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: Some(instant(stat.accessed)),
        data_modification_timestamp: Some(instant(stat.modified)),
        status_change_timestamp: Some(instant(stat.changed)),
    }
}

/// Of what changes when a file is changed or replaced, and not when it is read.
pub(super) fn hash(stat: &Stat) -> MetadataHashValue {
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        (which, stat.device, stat.inode, stat.size, stat.modified).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: half(0), upper: half(1) }
}
