//! Doors: every way into the kernel that can be tried here, each to a farewell or an answered request. Disks are booted by
//! SeaBIOS and by OVMF from every controller that both know; GRUB comes by its own ISO; by PVH, machines differ in their devices.
//! And every source of settings that can be tried here.
//!
//! `cargo xtask test doors` sets LUNETTE_IMAGE, the folder with the image and the loaders. What can't be tried here is *ignored*,
//! with the reason in brackets before its name; it never counts as passed.
#![forbid(unsafe_code)]

mod bad;
mod disks;
mod grub;
mod kernels;
mod machine;
mod metadata;
mod settings;

use libtest_mimic::{Arguments, Trial};

/// The tries of this run.
pub(crate) struct Doors(Vec<Trial>);

impl Doors {
    /// One that is ignored for a reason, if there is one.
    pub(crate) fn opens(
        &mut self,
        name: impl Into<String>,
        lack: Option<&'static str>,
        try_it: impl FnOnce() + Send + 'static,
    ) {
        let trial = Trial::test(name, move || {
            try_it();
            Ok(())
        });
        self.0.push(match lack {
            Some(why) => trial.with_kind(why).with_ignored_flag(true),
            None => trial,
        });
    }
}

fn main() {
    // Started by QEMU, once for each connection, it is a service instead.
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [metadata::SERVE, kind, log] = &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return metadata::serve(kind, log.as_ref());
    }
    let arguments = Arguments::from_args();
    let mut doors = Doors(Vec::new());
    kernels::doors(&mut doors);
    disks::doors(&mut doors);
    grub::doors(&mut doors);
    bad::doors(&mut doors);
    settings::doors(&mut doors);
    metadata::doors(&mut doors);
    libtest_mimic::run(&arguments, doors.0).exit();
}
