//! Settings from elsewhere than the command line: what the kernel says that it found, and whence, and what the app is told.

use crate::{
    Doors,
    machine::{Files, GOOD_END, Machine, bundle, cannot_boot},
};

/// Says its arguments and variables.
fn told(more: &str) -> Vec<u8> {
    bundle(include_str!("../guests/told.wat"), more)
}

const NETWORK: &str = "[network]\nlisten = [\"80\"]\n[env]\nKEPT = \"kept\"\nSECRET = \"from-manifest\"\n";
const CARD: [&str; 4] = ["-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net"];

pub(crate) fn doors(doors: &mut Doors) {
    doors.opens("settings_by_fw_cfg_and_smbios", cannot_boot(), || {
        let files = Files::new();
        let data = files.put(
            "data",
            b"#lunette\nargs = [\"one\", \"two\"]\n[env]\nSECRET = \"by-data\"\nMORE = \"more\"\n",
        );
        let data = format!("name=opt/org.lunette/user-data,file={}", data.display());
        let cmdline = "lunette.log=info lunette.config=fw_cfg,smbios lunette.hostname=first";
        let machine =
            Machine::new(&files, "pc", "128M", false).kernel(&files, cmdline, &told(NETWORK)).with(&CARD);
        let said = machine
            .with(&["-fw_cfg", "name=opt/org.lunette/ip,string=10.0.2.77/24,,10.0.2.2"])
            .with(&["-fw_cfg", "name=opt/org.lunette/hostname,string=second"])
            .with(&["-fw_cfg", "name=opt/org.lunette/env/SECRET,string=hunter2", "-fw_cfg", &data])
            .with(&["-smbios", "type=11,value=lunette.ip=10.9.9.9/24,value=lunette.dns=10.0.2.3,value=other"])
            .says(GOOD_END);
        for words in [
            "configuration: hostname=first (command line), ",
            "ip=10.0.2.77/24,10.0.2.2 (fw_cfg)",
            "env.SECRET (fw_cfg)",
            "dns=10.0.2.3 (SMBIOS)",
            "user-data (fw_cfg): 2 arguments, variables: SECRET MORE",
            "app.wasm\0one\0two\0",
            "KEPT=kept\0",
            "MORE=more\0",
            // As the app says it.
            "SECRET=hunter2\0",
        ] {
            assert!(said.contains(words), "`{words}` is not in:\n{said}");
        }
        let log = || said.lines().filter(|line| line.starts_with("lunette:"));
        assert!(log().any(|line| line.contains("10.0.2.77/24")), "it has that address:\n{said}");
        assert!(
            !log().any(|line| line.contains("hunter2") || line.contains("by-data")),
            "a secret is told:\n{said}"
        );
    });
    doors.opens("settings_on_microvm", cannot_boot(), || {
        let files = Files::new();
        let machine = Machine::new(&files, "microvm", "128M", false);
        let said = machine
            .kernel(&files, "lunette.config=auto", &told(""))
            .with(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .with(&["-fw_cfg", "name=opt/org.lunette/log,string=info"])
            .with(&["-fw_cfg", "name=opt/org.lunette/env/A,string=a"])
            .with(&["-fw_cfg", "name=opt/org.lunette/user-data,string=#cloud-config"])
            .says("farewell");
        for words in ["log=info (fw_cfg)", "env.A (fw_cfg)", "user-data (fw_cfg): not for Lunette", "A=a\0"] {
            assert!(said.contains(words), "`{words}` is not in:\n{said}");
        }
    });
    doors.opens("settings_are_not_looked_for_unasked", cannot_boot(), || {
        let files = Files::new();
        let machine = Machine::new(&files, "pc", "128M", false);
        let said = machine
            .kernel(&files, "lunette.log=info", &told(""))
            .with(&["-fw_cfg", "name=opt/org.lunette/env/A,string=a"])
            .says(GOOD_END);
        assert!(!said.contains("A=a") && !said.contains("configuration"), "{said}");
    });
    for (name, cmdline, words, more) in [
        (
            "unknown_source",
            "lunette.config=floppy",
            "farewell refused `lunette.config=floppy`: there is no source `floppy`; help: say `auto`",
            &[][..],
        ),
        (
            "unknown_key",
            "lunette.config=auto",
            "farewell refused fw_cfg: the setting `ipp` is not known; help: there are ip,",
            &["-fw_cfg", "name=opt/org.lunette/ipp,string=x"],
        ),
        (
            "bad_address",
            "lunette.config=smbios",
            "SMBIOS: `lunette.ip=10.0.0.300/24`: `10.0.0.300` is not an address; help:",
            &["-smbios", "type=11,value=lunette.ip=10.0.0.300/24"],
        ),
        (
            "trust_is_a_demand",
            "lunette.config=smbios",
            "farewell refused the bundle is not signed, which this machine demands (SMBIOS)",
            &[
                "-smbios",
                "type=11,value=lunette.trust=RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
            ],
        ),
        (
            "trust_in_nobody",
            "lunette.config=fw_cfg",
            "farewell refused \"\" ",
            &["-fw_cfg", "name=opt/org.lunette/trust,string= "],
        ),
        (
            "user_data_grants_nothing",
            "lunette.config=fw_cfg",
            "farewell refused fw_cfg: unknown key `network`",
            &["-fw_cfg", "name=opt/org.lunette/user-data,string=#lunette\n[network]\nlisten = []"],
        ),
    ] {
        doors.opens(format!("settings_refused_{name}"), cannot_boot(), move || {
            let files = Files::new();
            let machine = Machine::new(&files, "pc", "128M", false).kernel(&files, cmdline, &told(NETWORK));
            machine.with(&CARD).with(more).says(words);
        });
    }
}
