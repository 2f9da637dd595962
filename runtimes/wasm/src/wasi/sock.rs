//! Sockets: none yet. Every stream or file is none ([`Errno::Notsock`]), as in wasmtime; a directory is
//! [`Errno::Badf`], as for all that is done with open files: guests come with directories that nobody asked for,
//! and tests take descriptor 3 for one that is not open. The numbers are decoded all the same.

use lunette_hostcalls::Errno;

use super::{
    Answer, Wasi,
    table::Kind,
    types::{Fdflags, Riflags, Sdflags},
};
use crate::memory::{GuestMemory, Span};

impl Wasi {
    /// [`Errno::Badf`], [`Errno::Notsock`]; [`Errno::Inval`] for unknown flags.
    pub fn sock_accept(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        _accepted: u32,
    ) -> Answer {
        Fdflags::decode(flags)?;
        self.no_socket(fd)
    }

    /// As [`Wasi::sock_accept`].
    #[expect(clippy::too_many_arguments, reason = "as the specification has it")]
    pub fn sock_recv(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        _ri_data: Span,
        ri_flags: u32,
        _ro_datalen: u32,
        _ro_flags: u32,
    ) -> Answer {
        Riflags::decode(ri_flags)?;
        self.no_socket(fd)
    }

    /// As [`Wasi::sock_accept`]; there is no flag that would mean something.
    pub fn sock_send(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        _si_data: Span,
        si_flags: u32,
        _so_datalen: u32,
    ) -> Answer {
        if si_flags != 0 {
            return Err(Errno::Inval.into());
        }
        self.no_socket(fd)
    }

    /// As [`Wasi::sock_accept`].
    pub fn sock_shutdown(&mut self, _memory: &mut GuestMemory<'_>, fd: u32, how: u32) -> Answer {
        Sdflags::decode(how)?;
        self.no_socket(fd)
    }

    fn no_socket(&self, fd: u32) -> Answer {
        let descriptor = self.table.get(fd)?;
        let directory = matches!(descriptor.kind, Kind::Directory { .. });
        Err(if directory { Errno::Badf } else { Errno::Notsock }.into())
    }
}
