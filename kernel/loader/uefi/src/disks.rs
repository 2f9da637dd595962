//! Disks with settings, of controllers that the kernel may have no driver for: what settings are on is copied from all that the
//! firmware has as Block I/O: disks, CDs, their partitions.
//!
//! Promises: nothing is written, no driver is stopped, a disk that can't be read is passed over. What is on a disk is read by
//! `lunette-config`, which doubts it.

use alloc::{string::String, vec};
use core::ops::Range;

use lunette_config::{
    copied::{Copies, MOST},
    volume::{Blocks, SECTOR},
};
use uefi::{
    Handle,
    boot::{
        self, OpenProtocolAttributes, OpenProtocolParams, PAGE_SIZE, ScopedProtocol, SearchType,
        locate_handle_buffer,
    },
    proto::media::block::BlockIO,
};

use crate::firmware::{allocate, allocate_kept};

/// No more disks and partitions are looked at.
const MOST_DISKS: usize = 128;
/// What is read at once.
const BUFFER: usize = 32 << 10;

/// Copies what there is, to memory that the kernel will not use. `None`: no disk has settings.
pub(crate) fn copy(kernel: &Range<u64>) -> Option<u64> {
    let mut room = vec![0; MOST];
    let buffer = allocate("reading disks", BUFFER as u64, kernel);
    let mut copied = all(&mut room, buffer);
    if copied.is_none() {
        // Firmware that is told what to boot may have left the other controllers alone; OVMF does.
        connect();
        copied = all(&mut room, buffer);
    }
    let length = copied?;
    let kept = allocate_kept("copies of settings", length as u64, kernel);
    kept.copy_from_slice(&room[..length]);
    Some(kept.as_ptr().addr() as u64)
}

/// How much was copied.
fn all(room: &mut [u8], buffer: &mut [u8]) -> Option<usize> {
    let handles = locate_handle_buffer(SearchType::from_proto::<BlockIO>()).ok()?;
    let mut copies = Copies::new(room);
    for handle in handles.iter().take(MOST_DISKS) {
        if let Some(mut disk) = Disk::open(*handle, buffer) {
            copies.look(&mut disk);
        }
    }
    copies.finish().map(<[u8]>::len)
}

/// Has the firmware's drivers take whatever they can.
fn connect() {
    if let Ok(handles) = locate_handle_buffer(SearchType::AllHandles) {
        for handle in handles.iter() {
            // Most are no controllers.
            let _ = boot::connect_controller(*handle, &[], None, true);
        }
    }
}

struct Disk<'b> {
    protocol: ScopedProtocol<BlockIO>,
    media: u32,
    block: usize,
    sectors: u64,
    buffer: &'b mut [u8],
}

impl<'b> Disk<'b> {
    fn open(handle: Handle, buffer: &'b mut [u8]) -> Option<Self> {
        let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
        // SAFETY: shared with the drivers above it, our own volume's among them, which exclusive use would stop. Nothing that is
        // called while this is open takes the protocol away.
        let protocol =
            unsafe { boot::open_protocol::<BlockIO>(params, OpenProtocolAttributes::GetProtocol) }.ok()?;
        let media = protocol.media();
        let block = media.block_size() as usize;
        let fits = media.is_media_present()
            && matches!(block, 512 | 1024 | 2048 | 4096)
            && media.io_align() as usize <= PAGE_SIZE;
        let sectors = media.last_block().saturating_add(1).saturating_mul((block / SECTOR) as u64);
        let media = media.media_id();
        fits.then_some(Self { protocol, media, block, sectors, buffer })
    }
}

impl Blocks for Disk<'_> {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), String> {
        let per_block = (self.block / SECTOR) as u64;
        let mut done = 0;
        while done < into.len() {
            let sector = sector + (done / SECTOR) as u64;
            let skip = (sector % per_block) as usize * SECTOR;
            let wanted = (skip + into.len() - done).min(BUFFER);
            let blocks = &mut self.buffer[..wanted.next_multiple_of(self.block)];
            let read = self.protocol.read_blocks(self.media, sector / per_block, blocks);
            read.map_err(|_| "the firmware can't read it")?;
            into[done..done + wanted - skip].copy_from_slice(&blocks[skip..wanted]);
            done += wanted - skip;
        }
        Ok(())
    }
}
