//! This machine's settings: the command line's, and those of the sources that `lunette.config` names ([`lunette_config`]).
//!
//! Without that word nothing is looked for, and nothing is found: whoever asks goes by the command line alone.

use alloc::{
    format,
    string::{String, ToString},
};

pub use lunette_config::Settings;
use lunette_config::{
    By, Source, WORDS, Wanted, copied, fw_cfg, smbios,
    volume::{Blocks, Disks},
};
use virtio_drivers::transport::DeviceType;

use crate::{
    acpi::Physical,
    boot,
    cell::StaticCell,
    console::{self, log},
    drivers::{
        block::Disk,
        fw_cfg::FwCfg,
        virtio::{self, KernelHal, Wired},
        xen::guest as xen,
    },
    metadata,
    platform::stop::LowMemory,
};

static FOUND: StaticCell<Option<Settings>> = StaticCell::new(None);

/// The settings, if sources were asked for.
pub fn found() -> Option<&'static Settings> {
    // SAFETY: one core, no interrupt handler comes here, and the only one who writes is `gather`, which is called once, before
    // anybody has this.
    unsafe { (*FOUND.get()).as_ref() }
}

/// Asks the sources that the command line names. To be called once, before [`found`]. The error is one line with its `help:`.
pub fn gather() -> Result<(), String> {
    match boot::info().cmdline.get("config") {
        None => Ok(()),
        Some(sources) => ask(sources),
    }
}

#[cold]
fn ask(sources: &str) -> Result<(), String> {
    let wanted = Wanted::parse(sources)?;
    let mut settings = Settings::default();
    let cmdline = &boot::info().cmdline;
    for key in WORDS {
        if let Some(value) = cmdline.get(key) {
            settings.offer(Source::CommandLine, key, value.as_bytes())?;
        }
    }
    asked(&wanted, &mut settings)
        .map_err(|why| format!("{why}, or leave that source out of lunette.config={sources}"))?;
    for note in &settings.notes {
        log!(warn, "configuration: {note}");
    }
    log!(info, "configuration: {settings}");
    // SAFETY: as `found` says.
    unsafe { *FOUND.get() = Some(settings) };
    Ok(())
}

/// Asks one after the other, in their order. The network comes up for the last, as the others say.
fn asked(wanted: &Wanted, settings: &mut Settings) -> Result<(), String> {
    // A guest of Xen's has neither, and those ports may be somebody's.
    let is_pc = !xen::present();
    if wanted.fw_cfg {
        let there = is_pc && fw_cfg::read(&mut FwCfg, settings)?;
        absent(wanted, there, "fw_cfg: there is none; QEMU has it");
    }
    let anchor = boot::info().cmdline.number("smbios");
    if wanted.smbios {
        let there = is_pc && smbios::read(&firmwares, anchor, settings)?;
        absent(wanted, there, "SMBIOS: there are no tables");
    }
    let mut disk = false;
    if wanted.disk {
        disk = disks(settings)?;
        absent(wanted, disk, NO_DISK);
    }
    if let Some(level) = settings.get("log") {
        console::set_level(&level.value);
    }
    if wanted.metadata {
        let cloud = is_pc.then(|| smbios::cloud(&firmwares, anchor)).flatten();
        // A cloud says the same on a disk, which takes no time; and where there is no cloud, none would answer.
        if wanted.named || (cloud.is_some() && !disk) {
            metadata::read(cloud, settings)?;
        }
    }
    Ok(())
}

const NO_DISK: &str =
    "disk: no virtio disk is called cidata or config-2, nor one of those that our loader has";
/// No more disks are looked at.
const MOST_DISKS: usize = 16;

/// Looks at every virtio disk, then at what our loaders have copied of others. True: one was for us.
fn disks(settings: &mut Settings) -> Result<bool, String> {
    let mut disks = Disks::default();
    for others in 0..MOST_DISKS {
        let Some(wired) = virtio::find_after(DeviceType::Block, others) else { break };
        match Disk::new(wired) {
            Ok(disk) => disks.offer(&mut Virtio(disk), By::Us, settings)?,
            Err(fault) => settings.notes.push(format!("a virtio disk can't be used: {fault}")),
        }
    }
    if let Some(at) = boot::info().cmdline.number("disks") {
        let copies = copied::disks(&firmwares, at).ok_or_else(|| {
            format!("`lunette.disks={at:#x}`: there are no copies of disks; help: leave the word away")
        })?;
        for mut disk in copies {
            disks.offer(&mut disk, By::Firmware, settings)?;
        }
    }
    Ok(disks.found())
}

/// What firmware and loaders have left in memory that is not ours to use.
fn firmwares<'m>(at: u64, length: usize) -> Option<&'m [u8]> {
    LowMemory.bytes(at, length)
}

struct Virtio(Disk<KernelHal, Wired>);

impl Blocks for Virtio {
    fn sectors(&self) -> u64 {
        self.0.sectors()
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), String> {
        self.0.read(sector, into).map_err(|fault| fault.to_string())
    }
}

/// A source that was named and is not there is worth a word.
fn absent(wanted: &Wanted, there: bool, words: &str) {
    if !there && wanted.named {
        log!(warn, "configuration: {words}");
    }
}
