//! Where a machine's settings come from beside its command line, and which of several that say something counts.
//!
//! Every source says the same words, `KEY=VALUE`. For each key the first source that has it wins, in the order of
//! [`Source`]; what narrows trust adds up instead, so that no source can take back what another demands.
//!
//! | key | what |
//! |---|---|
//! | `ip`, `ip6`, `dns`, `hostname`, `hosts` | the network, as on the command line (`lunette-net` reads the values) |
//! | `log` | how much the kernel says, unless the command line does |
//! | `trust` | keys whose apps alone are run, with spaces or commas between them; each source's narrow those of the others |
//! | `require-signed` | as on the command line |
//! | `env.NAME` | a variable of the app's; only its name is ever shown |
//! | `user-data` | TOML after a first line `#lunette` (the image reads it); any other is somebody else's |
//!
//! Promises: what a source says is measured before it is used; what can't be understood is an error that names source and
//! place, never a guess and never a panic. Does not: touch devices (the kernel and its loaders do, and hand over bytes), interpret values.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod cloud;
pub mod copied;
mod fat;
pub mod fw_cfg;
mod http;
mod iso;
pub mod metadata;
mod network;
pub mod smbios;
pub mod volume;
mod yaml;

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::fmt;

/// Who says something; who comes first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    CommandLine,
    FwCfg,
    Smbios,
    NoCloud(By),
    ConfigDrive(By),
    Metadata,
}

/// Who has read a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// We, for it is virtio's.
    Us,
    /// A firmware, for a loader of ours ([`copied`]).
    Firmware,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::FwCfg => "fw_cfg",
            Self::Smbios => "SMBIOS",
            Self::NoCloud(By::Us) => "NoCloud disk",
            Self::NoCloud(By::Firmware) => "NoCloud disk, by the firmware",
            Self::ConfigDrive(By::Us) => "config drive",
            Self::ConfigDrive(By::Firmware) => "config drive, by the firmware",
            Self::Metadata => "metadata service",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which sources are looked at, beside the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub fw_cfg: bool,
    pub smbios: bool,
    pub disk: bool,
    pub metadata: bool,
    /// They were named, one by one: one that is not there is worth a word.
    pub named: bool,
}

impl Wanted {
    /// The value of `lunette.config=`: `auto`, `none`, or names with commas between them.
    pub fn parse(value: &str) -> Result<Self, String> {
        Self::named(value).map_err(|name| {
            format!(
                "`lunette.config={}`: there is no source `{}`; help: say `auto`, `none`, or some of fw_cfg,smbios,disk,metadata",
                value.escape_debug(),
                name.escape_debug()
            )
        })
    }

    /// The error is a name that is none, as it is: a loader has no room for what escapes it.
    fn named(value: &str) -> Result<Self, &str> {
        match value {
            "auto" => {
                return Ok(Self { fw_cfg: true, smbios: true, disk: true, metadata: true, named: false });
            }
            "none" => return Ok(Self::default()),
            _ => {}
        }
        let mut wanted = Self { named: true, ..Self::default() };
        for name in value.split(',') {
            match name {
                "fw_cfg" => wanted.fw_cfg = true,
                "smbios" => wanted.smbios = true,
                "disk" => wanted.disk = true,
                "metadata" => wanted.metadata = true,
                _ => return Err(name),
            }
        }
        Ok(wanted)
    }

    /// What a command line, which ends with NUL if not before, asks for, the last word as ever. A word that makes no sense asks for
    /// nothing: the kernel refuses it.
    pub fn of(cmdline: &[u8]) -> Self {
        let end = cmdline.iter().position(|byte| *byte == 0).unwrap_or(cmdline.len());
        let words = cmdline[..end].split(u8::is_ascii_whitespace);
        let value = words.filter_map(|word| word.strip_prefix(b"lunette.config=")).next_back();
        let value = value.and_then(|value| core::str::from_utf8(value).ok());
        value.and_then(|value| Self::named(value).ok()).unwrap_or_default()
    }
}

/// Keys that are words of the command line as well: the first source counts.
pub const WORDS: [&str; 6] = ["ip", "ip6", "dns", "hostname", "hosts", "log"];
const TRUST: &str = "trust";
const REQUIRE_SIGNED: &str = "require-signed";
const ENV: &str = "env.";
const USER_DATA: &str = "user-data";

/// No value is longer: as much as clouds take for user-data.
pub const LONGEST: usize = 64 << 10;
/// No more than that in all.
const MOST: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub key: String,
    pub value: String,
    pub source: Source,
}

/// What was said, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    all: Vec<Setting>,
    /// What is worth a line in the log, though it stops nothing.
    pub notes: Vec<String>,
}

impl Settings {
    /// Takes what a source says of a key. Sources are to be asked in their order.
    pub fn offer(&mut self, source: Source, key: &str, value: &[u8]) -> Result<(), String> {
        let wrong = |what: &str, help: &str| {
            Err(format!("{source}: the setting `{}` {what}; help: {help}", key.escape_debug()))
        };
        let adds_up = key == TRUST || key == REQUIRE_SIGNED;
        let known = adds_up || WORDS.contains(&key) || key == USER_DATA;
        if !known {
            match key.strip_prefix(ENV) {
                Some(name) if !name.is_empty() && !name.contains(['=', '\0']) => {}
                Some(_) => return wrong("names no variable", "say env.NAME"),
                None => {
                    let help =
                        format!("there are {}, trust, require-signed, env.NAME, user-data", WORDS.join(", "));
                    return wrong("is not known", &help);
                }
            }
        }
        if value.len() > LONGEST {
            return wrong("is too long", "it may have 64 KiB");
        }
        if self.all.len() >= MOST {
            return wrong("is one too many", "there may be 512");
        }
        let value = match core::str::from_utf8(value) {
            Ok(value) if !value.contains('\0') => value,
            // Compressed, or for another system: that is not for us, as is all that does not begin with `#lunette`.
            _ if key == USER_DATA => "",
            _ => return wrong("is no text", "give it in UTF-8, without NUL"),
        };
        // A file often ends with a line feed that nobody means.
        let value = if key == USER_DATA { value } else { value.strip_suffix('\n').unwrap_or(value) };
        if adds_up || !self.all.iter().any(|known| known.key == key) {
            self.all.push(Setting { key: key.to_owned(), value: value.to_owned(), source });
        }
        Ok(())
    }

    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.all.iter().find(|setting| setting.key == key)
    }

    /// The words of the network, as on a command line, each with its source.
    pub fn words(&self) -> impl Iterator<Item = (String, Source)> {
        let words = self.all.iter().filter(|setting| WORDS.contains(&&*setting.key));
        words.map(|setting| (format!("lunette.{}={}", setting.key, setting.value), setting.source))
    }

    /// The keys that each source demands.
    pub fn trust(&self) -> impl Iterator<Item = (Source, impl Iterator<Item = &[u8]>)> {
        self.all.iter().filter(|setting| setting.key == TRUST).map(|setting| {
            let keys = setting.value.split([' ', ',', '\n', '\t', '\r']).filter(|key| !key.is_empty());
            // A demand that names nobody is one that nobody meets: it has to be seen.
            let none = setting.value.trim().is_empty().then_some(&b""[..]);
            (setting.source, none.into_iter().chain(keys.map(str::as_bytes)))
        })
    }

    pub fn requires_signed(&self) -> bool {
        self.get(REQUIRE_SIGNED).is_some()
    }

    /// The app's variables that have a setting each.
    pub fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().filter_map(|setting| Some((setting.key.strip_prefix(ENV)?, &*setting.value)))
    }

    pub fn user_data(&self) -> Option<(&str, Source)> {
        self.get(USER_DATA).map(|setting| (&*setting.value, setting.source))
    }
}

/// One line: what counts, and whence it came. Of variables and user-data not what they say.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all.is_empty() {
            return f.write_str("nothing");
        }
        for (n, Setting { key, value, source }) in self.all.iter().enumerate() {
            f.write_str(if n > 0 { ", " } else { "" })?;
            if key == USER_DATA {
                write!(f, "user-data of {} bytes", value.len())?;
            } else if key.starts_with(ENV) || value.is_empty() {
                write!(f, "{}", key.escape_debug())?;
            } else {
                write!(f, "{key}={}", value.escape_debug())?;
            }
            write!(f, " ({source})")?;
        }
        Ok(())
    }
}

/// A number at an offset, if there are as many bytes.
fn long(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn the_first_source_counts_and_trust_adds_up() {
        let mut settings = Settings::default();
        for (source, key, value) in [
            (Source::CommandLine, "ip", "10.0.0.5/24"),
            (Source::FwCfg, "ip", "dhcp"),
            (Source::FwCfg, "hostname", "moon\n"),
            (Source::FwCfg, "trust", "A,B C"),
            (Source::FwCfg, "env.SECRET", "hunter2"),
            (Source::Smbios, "env.SECRET", "other"),
            (Source::Smbios, "trust", "D"),
            (Source::Smbios, "require-signed", ""),
            (Source::NoCloud(By::Us), "user-data", "#lunette\nargs = []"),
        ] {
            settings.offer(source, key, value.as_bytes()).unwrap();
        }
        assert_eq!(
            settings.to_string(),
            "ip=10.0.0.5/24 (command line), hostname=moon (fw_cfg), trust=A,B C (fw_cfg), env.SECRET (fw_cfg), \
             trust=D (SMBIOS), require-signed (SMBIOS), user-data of 18 bytes (NoCloud disk)"
        );
        let words: Vec<_> = settings.words().collect();
        assert_eq!(words[0], ("lunette.ip=10.0.0.5/24".into(), Source::CommandLine));
        assert_eq!(words[1], ("lunette.hostname=moon".into(), Source::FwCfg));
        assert_eq!(words.len(), 2);
        let trust: Vec<_> =
            settings.trust().map(|(source, keys)| (source, keys.collect::<Vec<_>>())).collect();
        assert_eq!(trust, [(Source::FwCfg, vec![&b"A"[..], b"B", b"C"]), (Source::Smbios, vec![&b"D"[..]])]);
        assert_eq!(settings.env().collect::<Vec<_>>(), [("SECRET", "hunter2")]);
        assert!(settings.requires_signed());
        assert_eq!(Settings::default().to_string(), "nothing");
    }

    #[test]
    fn an_empty_demand_is_one() {
        let mut settings = Settings::default();
        settings.offer(Source::FwCfg, "trust", b" \n").unwrap();
        assert_eq!(settings.trust().map(|(_, keys)| keys.count()).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut settings = Settings::default();
        let mut offer = |key, value: &[u8]| settings.offer(Source::FwCfg, key, value).unwrap_err();
        assert!(
            offer("ipp", b"").contains("`ipp` is not known; help: there are ip, ip6"),
            "{}",
            offer("ipp", b"")
        );
        assert!(offer("env.", b"").contains("names no variable"));
        assert!(offer("env.A=B", b"").contains("names no variable"));
        assert!(offer("dns", b"\xff").contains("is no text"));
        assert!(offer("dns", &[b'a'; LONGEST + 1]).contains("is too long"));
        assert!(settings.offer(Source::FwCfg, "user-data", b"\x1f\x8b\x08\0").is_ok(), "somebody else's");
        for n in 0..MOST - 1 {
            settings.offer(Source::FwCfg, &format!("env.{n}"), b"").unwrap();
        }
        assert!(settings.offer(Source::FwCfg, "env.more", b"").unwrap_err().contains("one too many"));
    }

    #[test]
    fn sources_are_asked_for_by_name() {
        let all = Wanted { fw_cfg: true, smbios: true, disk: true, metadata: true, named: false };
        assert_eq!(Wanted::parse("auto"), Ok(all));
        assert_eq!(Wanted::parse("none"), Ok(Wanted::default()));
        let some = Wanted { smbios: false, metadata: false, named: true, ..all };
        assert_eq!(Wanted::parse("disk,fw_cfg"), Ok(some));
        assert_eq!(Wanted::parse("disk,metadata,fw_cfg"), Ok(Wanted { metadata: true, ..some }));
        for wrong in ["", "disks", "disk,", "auto,disk"] {
            assert!(Wanted::parse(wrong).unwrap_err().contains("there is no source"), "{wrong}");
        }
        let disk = Wanted { disk: true, named: true, ..Wanted::default() };
        assert_eq!(
            Wanted::of(b"a lunette.config=auto\tlunette.config=disk\0\0 b"),
            disk,
            "the last one counts"
        );
        for nothing in [
            &b""[..],
            b"lunette.config",
            b"lunette.config=\xff",
            b"xlunette.config=auto",
            b"lunette.config=x",
        ] {
            assert_eq!(Wanted::of(nothing), Wanted::default());
        }
    }
}
