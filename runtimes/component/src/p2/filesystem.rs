//! `wasi:filesystem`: descriptors and what they are used for. `crate::files` does it; this file knows what it is
//! called.
//!
//! A directory may be changed where its file system may (`mutate-directory` says so, and asks for nothing); a file is read
//! and written as it was opened. Synchronised writing is taken, and reported: memory is its own disk.

mod streams;

use lunette_hostcalls::{Errno, FileKind, Nanos};
use wasmtime::{
    Result as Answer,
    component::{Resource, ResourceTableError},
};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    MAX_PIECE,
    bindings::wasi::filesystem::{
        preopens,
        types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
            Filesize, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
        },
    },
    clocks::{datetime, nanos},
    fault::{Fault, code},
};
use crate::{
    State,
    files::{Held, Open, now},
};

type Result<T, E = Fault> = std::result::Result<T, E>;

pub struct Descriptor {
    held: Held,
    kind: FileKind,
    flags: DescriptorFlags,
}

/// Where a listing of a directory is.
pub struct Entries {
    held: Held,
    cookie: u64,
}

impl Descriptor {
    fn open_directory(held: Held) -> Self {
        let flags = match held.writable() {
            true => DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY,
            false => DescriptorFlags::READ,
        };
        Self { held, kind: FileKind::Directory, flags }
    }

    fn directory(&self) -> Result<&Held, Errno> {
        if self.kind == FileKind::Directory { Ok(&self.held) } else { Err(Errno::Notdir) }
    }

    /// A file that was opened for this.
    fn file(&self, access: DescriptorFlags) -> Result<&Held, Errno> {
        match self.kind {
            FileKind::Directory => Err(Errno::Isdir),
            _ if !self.flags.contains(access) => Err(Errno::Badf),
            _ => Ok(&self.held),
        }
    }
}

impl State {
    fn descriptor(&self, descriptor: &Resource<Descriptor>) -> Result<&Descriptor> {
        Ok(self.table.get(descriptor)?)
    }

    fn directory(&self, descriptor: &Resource<Descriptor>) -> Result<&Held> {
        Ok(self.descriptor(descriptor)?.directory()?)
    }

    fn file(&self, descriptor: &Resource<Descriptor>, access: DescriptorFlags) -> Result<&Held> {
        Ok(self.descriptor(descriptor)?.file(access)?)
    }

    fn date(&self) -> Nanos {
        now(&*self.ctx.clock)
    }

    fn set_times_of(&self, held: &Held, accessed: NewTimestamp, modified: NewTimestamp) -> Result<()> {
        let now = self.date();
        let (accessed, modified) = (time(accessed, now)?, time(modified, now)?);
        Ok(held.set_times(accessed, modified, now)?)
    }
}

impl preopens::Host for State {
    fn get_directories(&mut self) -> Answer<Vec<(Resource<Descriptor>, String)>> {
        let preopens = self.ctx.preopens.iter();
        preopens
            .map(|preopen| {
                let held = Held::new(&preopen.files, preopen.root);
                Ok((self.table.push(Descriptor::open_directory(held))?, preopen.name.clone()))
            })
            .collect()
    }
}

impl types::Host for State {
    fn convert_error_code(&mut self, fault: Fault) -> Answer<ErrorCode> {
        match fault {
            Fault::Errno(errno) => Ok(code(errno)),
            Fault::Trap(error) => Err(error),
        }
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> Answer<Option<ErrorCode>> {
        Ok(self.errno(&error)?.map(code))
    }
}

impl types::HostDescriptor for State {
    fn read_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> Result<Resource<DynInputStream>> {
        let held = self.file(&fd, DescriptorFlags::READ)?.clone();
        let stream: DynInputStream = Box::new(streams::Reader::new(held, offset));
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
    ) -> Result<Resource<DynOutputStream>> {
        let held = self.file(&fd, DescriptorFlags::WRITE)?.clone();
        let stream: DynOutputStream =
            Box::new(streams::Writer::new(held, Some(offset), self.ctx.clock.clone()));
        Ok(self.table.push(stream)?)
    }

    fn append_via_stream(&mut self, fd: Resource<Descriptor>) -> Result<Resource<DynOutputStream>> {
        let held = self.file(&fd, DescriptorFlags::WRITE)?.clone();
        let stream: DynOutputStream = Box::new(streams::Writer::new(held, None, self.ctx.clock.clone()));
        Ok(self.table.push(stream)?)
    }

    /// Taken note of by nobody: files are in memory.
    fn advise(
        &mut self,
        fd: Resource<Descriptor>,
        offset: Filesize,
        length: Filesize,
        _: Advice,
    ) -> Result<()> {
        if self.descriptor(&fd)?.kind == FileKind::Directory {
            return Err(Errno::Badf.into());
        }
        offset.checked_add(length).ok_or(Errno::Inval)?;
        Ok(())
    }

    fn sync_data(&mut self, fd: Resource<Descriptor>) -> Result<()> {
        self.descriptor(&fd).map(drop)
    }

    fn sync(&mut self, fd: Resource<Descriptor>) -> Result<()> {
        self.descriptor(&fd).map(drop)
    }

    fn get_flags(&mut self, fd: Resource<Descriptor>) -> Result<DescriptorFlags> {
        Ok(self.descriptor(&fd)?.flags)
    }

    fn get_type(&mut self, fd: Resource<Descriptor>) -> Result<DescriptorType> {
        Ok(kind(self.descriptor(&fd)?.kind))
    }

    fn set_size(&mut self, fd: Resource<Descriptor>, size: Filesize) -> Result<()> {
        Ok(self.file(&fd, DescriptorFlags::WRITE)?.set_size(size, self.date())?)
    }

    fn set_times(
        &mut self,
        fd: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<()> {
        let descriptor = self.descriptor(&fd)?;
        self.set_times_of(&descriptor.held, accessed, modified)
    }

    fn read(
        &mut self,
        fd: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> Result<(Vec<u8>, bool)> {
        let held = self.file(&fd, DescriptorFlags::READ)?;
        let bytes = held.read(offset, usize::try_from(length).unwrap_or(MAX_PIECE).min(MAX_PIECE))?;
        let end = bytes.is_empty() && (length > 0 || offset >= held.stat()?.size);
        Ok((bytes, end))
    }

    fn write(&mut self, fd: Resource<Descriptor>, bytes: Vec<u8>, offset: Filesize) -> Result<Filesize> {
        Ok(self.file(&fd, DescriptorFlags::WRITE)?.write(offset, &bytes, self.date())? as Filesize)
    }

    fn read_directory(&mut self, fd: Resource<Descriptor>) -> Result<Resource<Entries>> {
        let held = self.directory(&fd)?.clone();
        Ok(self.table.push(Entries { held, cookie: 0 })?)
    }

    fn create_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> Result<()> {
        Ok(self.directory(&fd)?.create_directory(&path, self.date())?)
    }

    fn stat(&mut self, fd: Resource<Descriptor>) -> Result<DescriptorStat> {
        stat(&self.descriptor(&fd)?.held)
    }

    fn stat_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Result<DescriptorStat> {
        stat(&self.directory(&fd)?.at(&path, follows(flags))?)
    }

    fn set_times_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> Result<()> {
        let held = self.directory(&fd)?.at(&path, follows(flags))?;
        self.set_times_of(&held, accessed, modified)
    }

    fn link_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        old: String,
        to: Resource<Descriptor>,
        new: String,
    ) -> Result<()> {
        let (from, to) = (self.directory(&fd)?, self.directory(&to)?);
        // As in wasmtime.
        if follows(flags) {
            return Err(Errno::Inval.into());
        }
        Ok(from.link(&old, to, &new, self.date())?)
    }

    /// Who asks for neither wants to read, and to write what is new or cut off: so wasmtime, and so its programs.
    fn open_at(
        &mut self,
        fd: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open: OpenFlags,
        mut flags: DescriptorFlags,
    ) -> Result<Resource<Descriptor>> {
        let directory = self.directory(&fd)?;
        let how = Open {
            follow: follows(path_flags),
            create: open.contains(OpenFlags::CREATE),
            directory: open.contains(OpenFlags::DIRECTORY),
            exclusive: open.contains(OpenFlags::EXCLUSIVE),
            truncate: open.contains(OpenFlags::TRUNCATE),
            write: flags.contains(DescriptorFlags::WRITE),
        };
        let (held, kind) = directory.open(&path, how, self.date())?;
        let descriptor = if kind == FileKind::Directory {
            Descriptor::open_directory(held)
        } else {
            flags &= !DescriptorFlags::MUTATE_DIRECTORY;
            if !how.write {
                flags |= DescriptorFlags::READ;
            }
            if (how.create || how.truncate) && held.writable() {
                flags |= DescriptorFlags::WRITE;
            }
            Descriptor { held, kind, flags }
        };
        match self.table.push(descriptor) {
            Err(ResourceTableError::Full) => Err(Errno::Mfile.into()),
            pushed => Ok(pushed?),
        }
    }

    fn readlink_at(&mut self, fd: Resource<Descriptor>, path: String) -> Result<String> {
        Ok(self.directory(&fd)?.read_link(&path)?)
    }

    fn remove_directory_at(&mut self, fd: Resource<Descriptor>, path: String) -> Result<()> {
        Ok(self.directory(&fd)?.remove_directory(&path, self.date())?)
    }

    fn rename_at(
        &mut self,
        fd: Resource<Descriptor>,
        old: String,
        to: Resource<Descriptor>,
        new: String,
    ) -> Result<()> {
        let (from, to) = (self.directory(&fd)?, self.directory(&to)?);
        Ok(from.rename(&old, to, &new, self.date())?)
    }

    fn symlink_at(&mut self, fd: Resource<Descriptor>, target: String, path: String) -> Result<()> {
        Ok(self.directory(&fd)?.symlink(&target, &path, self.date())?)
    }

    fn unlink_file_at(&mut self, fd: Resource<Descriptor>, path: String) -> Result<()> {
        Ok(self.directory(&fd)?.unlink(&path, self.date())?)
    }

    fn is_same_object(&mut self, fd: Resource<Descriptor>, other: Resource<Descriptor>) -> Answer<bool> {
        Ok(self.table.get(&fd)?.held.is(&self.table.get(&other)?.held))
    }

    fn metadata_hash(&mut self, fd: Resource<Descriptor>) -> Result<MetadataHashValue> {
        hash(&self.descriptor(&fd)?.held)
    }

    fn metadata_hash_at(
        &mut self,
        fd: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> Result<MetadataHashValue> {
        hash(&self.directory(&fd)?.at(&path, follows(flags))?)
    }

    fn drop(&mut self, fd: Resource<Descriptor>) -> Answer<()> {
        self.table.delete(fd)?;
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for State {
    fn read_directory_entry(&mut self, entries: Resource<Entries>) -> Result<Option<DirectoryEntry>> {
        let entries = self.table.get_mut(&entries)?;
        let Some((found, name, cookie)) = entries.held.entry_after(entries.cookie)? else { return Ok(None) };
        entries.cookie = cookie;
        Ok(Some(DirectoryEntry { type_: kind(found), name }))
    }

    fn drop(&mut self, entries: Resource<Entries>) -> Answer<()> {
        self.table.delete(entries)?;
        Ok(())
    }
}

fn follows(flags: PathFlags) -> bool {
    flags.contains(PathFlags::SYMLINK_FOLLOW)
}

fn kind(kind: FileKind) -> DescriptorType {
    match kind {
        FileKind::Directory => DescriptorType::Directory,
        FileKind::File => DescriptorType::RegularFile,
        FileKind::Symlink => DescriptorType::SymbolicLink,
    }
}

fn stat(held: &Held) -> Result<DescriptorStat> {
    let stat = held.stat()?;
    Ok(DescriptorStat {
        type_: kind(stat.kind),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp: Some(datetime(stat.accessed)),
        data_modification_timestamp: Some(datetime(stat.modified)),
        status_change_timestamp: Some(datetime(stat.changed)),
    })
}

fn hash(held: &Held) -> Result<MetadataHashValue> {
    let (lower, upper) = held.identity()?;
    Ok(MetadataHashValue { lower, upper })
}

fn time(new: NewTimestamp, now: Nanos) -> Result<Option<Nanos>, Errno> {
    match new {
        NewTimestamp::NoChange => Ok(None),
        NewTimestamp::Now => Ok(Some(now)),
        NewTimestamp::Timestamp(at) => Ok(Some(nanos(at).ok_or(Errno::Overflow)?)),
    }
}
