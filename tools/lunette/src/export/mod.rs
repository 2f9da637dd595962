//! `lunette image export`: an app and its kernel in the form that a hypervisor takes, and what starts them there.
//!
//! An export is a folder: the kernel and what it boots with, or a disk; the target's configuration; SHA256SUMS; and a README that
//! says what was tried. [`targets`] has the targets, [`disk`] makes disks and wraps them.
//!
//! Promises: the folder is there whole or not at all; the bundle in it is the same to the byte for every target; the same
//! input gives the same disk (files that qemu-img writes bear numbers of their own). Does not: talk to a cloud, need root, or mount anything.

mod disk;
pub mod targets;

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use lunette_bundle::{Launch, Payload, sha256_hex};
use serde_json::json;

use crate::{
    app::{App, Extras},
    baked,
    cli::Export,
    image,
    native::{self, How},
    network::{Flags, Needs, address::Setting},
    problem::Problem,
    run::{self, Us},
    signing,
    verbs::print,
};
use targets::{Artefact, TARGETS, Target};

/// What templates speak of.
struct Facts {
    /// For hypervisors, which want letters, digits and dashes.
    name: String,
    kernel: String,
    payload: String,
    disk: String,
    vmdk: String,
    vmdk_size: u64,
    cmdline: String,
    mib: u64,
    size: u64,
    network: bool,
}

/// What is to be booted.
struct Booted {
    kernel: Vec<u8>,
    payload: Vec<u8>,
    loaders: Option<[PathBuf; 2]>,
}

/// Exports it; prints where.
pub fn export(args: &Export, us: &Us) -> Result<u8, Problem> {
    let target = targets::named(&args.target).ok_or_else(|| unknown(&args.target))?;
    if args.size.is_some() && target.artefact == Artefact::Kernel {
        let what = format!("{} boots the kernel itself, and gets no disk", target.name);
        return Err(Problem::new(what, "leave --size out").at("--size"));
    }
    if let Artefact::Disk(format) = target.artefact
        && format.needs_qemu_img()
    {
        disk::find_qemu_img()?;
    }
    let (app, rest) =
        args.command.split_first().ok_or_else(|| Problem::new("there is no APP", "name one"))?;
    let path = Path::new(app);
    let opened = App::open(path)?;
    let name = opened.manifest().map_err(|mut all| all.swap_remove(0).at(app))?.app.name;
    let named = |e: Problem| run::named(e, app);
    let packed = opened.pack(&Extras::default(), &us.voice).map_err(named)?;
    let needs = packed.check().map_err(named)?;
    let launch = Launch {
        args: (!rest.is_empty()).then(|| rest.to_vec()),
        env: run::environment(&args.env),
        ..Launch::default()
    };
    let packed =
        native::add(packed, &launch, &needs, &How::default(), &us.cache, &us.voice).map_err(named)?;
    let signature = signing::of_payload(path, &packed.bytes, &args.trust)?;
    let payload = [&packed.bytes[..], &signature, &launch.to_bytes()].concat();
    let parsed = Payload::parse(&payload)?;
    let plan = parsed.plan()?;
    let runtimes = lunette_app::needs(&parsed, &plan)?;
    let image = image::choose(args.image.as_deref(), us.executable.as_deref(), &runtimes)?;
    us.voice.info(&format!("the app needs {}; the image is {image}", image::words(&runtimes)));
    let mut kernel = fs::read(&image.path).map_err(|e| {
        Problem::new(format!("the image can't be read: {e}"), "see that you may read it")
            .at(image.path.display())
    })?;
    if !args.trust.is_empty() {
        baked::put(&mut kernel, &args.trust).map_err(|e| e.at(image.path.display()))?;
    }
    // The kernel's own questions go over a card as well.
    let network =
        Needs::of(plan.all().map(|guest| &guest.grants)).any || asks_service(args.config_from.as_deref());
    // Hyper-V wants multiples of 2, VMware of 4.
    let mib = (run::memory(args.memory, payload.len() as u64, image.size)? >> 20).next_multiple_of(4);

    let safe = safe(&name);
    let facts = Facts {
        kernel: "lunette.elf".into(),
        payload: format!("{safe}.initrd"),
        disk: match target.artefact {
            Artefact::Disk(format) => format!("{safe}.{}", format.ending()),
            Artefact::Kernel => String::new(),
        },
        vmdk: format!("{safe}.vmdk"),
        vmdk_size: 0,
        name: safe,
        cmdline: cmdline(&args.address.flags(), network, args.config_from.as_deref())?,
        mib,
        size: 0,
        network,
    };
    let loaders = disk::loaders(&image.path);
    let output = args.output.clone().unwrap_or_else(|| format!("{}-{}", facts.name, target.name).into());
    let booted = Booted { kernel, payload, loaders };
    let files = whole(&output, |folder| write(folder, target, facts, &booted, args.size, &packed.hash))?;
    if args.json {
        let files: Vec<_> = files
            .iter()
            .map(|(name, size, hash)| json!({ "name": name, "size": size, "sha256": hash }))
            .collect();
        let text = json!({ "target": target.name, "folder": output, "bundle": packed.hash, "files": files });
        print(&format!("{text:#}\n"))?;
    } else {
        let mut text = format!("{}  {}\n", output.display(), target.what);
        for (name, size, hash) in files {
            let _ = writeln!(text, "  {name}  {size} bytes  sha256 {hash}");
        }
        print(&text)?;
    }
    Ok(0)
}

fn unknown(name: &str) -> Problem {
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    let names = names.join(", ");
    let word = match TARGETS.iter().min_by_key(|target| strsim::levenshtein(target.name, name)) {
        Some(near) if strsim::levenshtein(near.name, name) <= 2 => format!("did you mean {}? ", near.name),
        _ => String::new(),
    };
    Problem::new(format!("there is no target {name:?}"), format!("{word}the targets are: {names}"))
        .at("--for")
}

/// For `--help`: a line a target.
pub fn help() -> String {
    let mut text = "Targets:\n".to_owned();
    for Target { name, what, .. } in TARGETS {
        let _ = writeln!(text, "  {name:<17} {what}");
    }
    text.pop();
    text
}

/// Letters, digits and dashes of a name: what all hypervisors take.
fn safe(name: &str) -> String {
    let dashed: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(50)
        .collect();
    match dashed.trim_matches('-') {
        "" => "app".into(),
        name => name.to_owned(),
    }
}

/// Was a source named that is asked over the network?
fn asks_service(sources: Option<&str>) -> bool {
    sources.is_some_and(|sources| sources.split(',').any(|source| source == "metadata"))
}

/// The kernel's words on a machine of its own: all that it says is on the first serial port.
fn cmdline(flags: &Flags, network: bool, sources: Option<&str>) -> Result<String, Problem> {
    let mut words = Vec::new();
    words.extend(sources.map(|sources| format!("lunette.config={sources}")));
    if network {
        // The command line has the first word: where other sources are asked, it says no more than was said here.
        let implied = sources.is_none_or(|sources| sources == "none");
        let flags = Flags {
            ip: flags.ip.or(implied.then_some(Setting::Auto)),
            ip6: flags.ip6.or(implied.then_some(Setting::Auto)),
            ..flags.clone()
        };
        words.extend(flags.addresses());
        words.extend(flags.names());
    } else if let Some(flag) = flags.in_vain() {
        let what = format!("{flag} is for nothing: the app is granted no network");
        return Err(Problem::new(what, "grant it some in lunette.toml: [network]"));
    }
    let line = words.join(" ");
    // It goes into scripts, JSON and XML as it is.
    match line.chars().find(|c| !c.is_ascii_alphanumeric() && !" .,:=/_-[]%*+".contains(*c)) {
        Some(c) => {
            let what =
                format!("the kernel's command line would have {c:?} in it, which not every target takes");
            Err(Problem::new(what, "choose another name or address"))
        }
        None => Ok(line),
    }
}

/// Makes a folder that is whole when it gets its name.
fn whole<T>(output: &Path, make: impl FnOnce(&Path) -> Result<T, Problem>) -> Result<T, Problem> {
    let failed = |e: std::io::Error| {
        Problem::new(format!("the export can't be written: {e}"), "name another place with -o")
            .at(output.display())
    };
    if fs::symlink_metadata(output).is_ok() {
        let help = "take it away, or name another place with -o";
        return Err(Problem::new("it is there already", help).at(output.display()));
    }
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = tempfile::Builder::new().prefix(".lunette-export-").tempdir_in(parent).map_err(failed)?;
    let made = make(folder.path())?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).map_err(failed)?;
    fs::rename(folder.path(), output).map_err(failed)?;
    // It is there under its name: nothing is left to be taken away.
    let _ = folder.keep();
    Ok(made)
}

/// A file's name, size and SHA-256.
type Listed = (String, u64, String);

fn write(
    folder: &Path,
    target: &Target,
    mut facts: Facts,
    booted: &Booted,
    size: Option<u64>,
    hash: &str,
) -> Result<Vec<Listed>, Problem> {
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        let mode = if name.ends_with(".sh") { 0o755 } else { 0o644 };
        let put = fs::write(&path, bytes);
        put.and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode))).map_err(|e| {
            Problem::new(format!("{name} can't be written: {e}"), "make room, or name another place with -o")
        })
    };
    let mut names = Vec::new();
    match target.artefact {
        Artefact::Kernel => {
            put(&facts.kernel, &booted.kernel)?;
            put(&facts.payload, &booted.payload)?;
            names.extend([facts.kernel.clone(), facts.payload.clone()]);
        }
        Artefact::Disk(format) => {
            disk::write(folder, format, &mut facts, booted, size)?;
            names.push(facts.disk.clone());
        }
    }
    for (name, template) in target.files {
        put(name, fill(template, &facts).as_bytes())?;
        names.push((*name).to_owned());
    }
    put("README", readme(target, &facts, hash, &names).as_bytes())?;
    names.push("README".into());
    let mut listed = Vec::new();
    let mut sums = String::new();
    for name in names {
        let path = folder.join(&name);
        let (size, hash) = disk::hash(&path)?;
        let _ = writeln!(sums, "{hash}  {name}");
        listed.push((name, size, hash));
    }
    put("SHA256SUMS", sums.as_bytes())?;
    listed.push(("SHA256SUMS".into(), sums.len() as u64, sha256_hex(sums.as_bytes())));
    Ok(listed)
}

/// A template with its `{{words}}` replaced. A line that begins with `?net ` is there only for an app with a network.
fn fill(template: &str, facts: &Facts) -> String {
    let words = [
        ("{{name}}", facts.name.clone()),
        ("{{kernel}}", facts.kernel.clone()),
        ("{{payload}}", facts.payload.clone()),
        ("{{disk}}", facts.disk.clone()),
        ("{{vmdk}}", facts.vmdk.clone()),
        ("{{vmdk-size}}", facts.vmdk_size.to_string()),
        ("{{cmdline}}", facts.cmdline.clone()),
        ("{{mib}}", facts.mib.to_string()),
        ("{{size}}", facts.size.to_string()),
    ];
    let mut out = String::new();
    for line in template.lines() {
        let line = match line.strip_prefix("?net ") {
            Some(_) if !facts.network => continue,
            Some(rest) => rest,
            None => line,
        };
        out += &words.iter().fold(line.to_owned(), |line, (word, value)| line.replace(word, value));
        out.push('\n');
    }
    out
}

fn readme(target: &Target, facts: &Facts, hash: &str, names: &[String]) -> String {
    let Facts { name, cmdline, mib, .. } = facts;
    let Target { what, way, tried, .. } = target;
    let version = env!("CARGO_PKG_VERSION");
    let network = match facts.network {
        true => "It has a network card.",
        false => "It has no network: the app is granted none.",
    };
    format!(
        "{name} for {what}\n\n\
         Exported by Lunette {version}. {mib} MiB of memory, one processor. {network}\n\
         Boots by {way}.\n\
         The bundle in it has the SHA-256 {hash} (`lunette inspect` of the bundle says the same).\n\
         The kernel's command line is: {}\n\
         What the app and the kernel say is on the first serial port, the end of a run in a line `lunette: farewell ...`.\n\n\
         Files: {}. `sha256sum -c SHA256SUMS` checks them.\n\n\
         {tried}\n",
        if cmdline.is_empty() { "(empty)" } else { cmdline },
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(network: bool) -> Facts {
        Facts {
            name: "moon".into(),
            kernel: "lunette.elf".into(),
            payload: "moon.initrd".into(),
            disk: "moon.raw".into(),
            vmdk: "moon.vmdk".into(),
            vmdk_size: 7,
            cmdline: if network { "lunette.ip=dhcp".into() } else { String::new() },
            mib: 128,
            size: 9,
            network,
        }
    }

    #[test]
    fn where_other_sources_are_asked_the_command_line_implies_nothing() {
        let flags = Flags::default();
        assert_eq!(cmdline(&flags, true, None).unwrap(), "lunette.ip=dhcp lunette.ip6=auto");
        assert_eq!(cmdline(&flags, true, Some("auto")).unwrap(), "lunette.config=auto");
        let flags = Flags { ip: Some(Setting::Auto), ..flags };
        let words = "lunette.config=fw_cfg,disk lunette.ip=dhcp";
        assert_eq!(cmdline(&flags, true, Some("fw_cfg,disk")).unwrap(), words);
        assert!(asks_service(Some("disk,metadata")) && !asks_service(Some("auto")) && !asks_service(None));
    }

    #[test]
    fn no_word_of_a_template_is_left_and_scripts_are_shells() {
        for target in TARGETS {
            for network in [false, true] {
                for (name, template) in target.files {
                    let text = fill(template, &facts(network));
                    assert!(!text.contains("{{") && !text.contains("?net"), "{} {name}: {text}", target.name);
                    assert_eq!(text.contains("lunette.ip"), network && template.contains("{{cmdline}}"));
                    if name.ends_with(".sh") {
                        assert!(text.starts_with("#!/bin/sh\n"), "{name}");
                        let sh = std::process::Command::new("sh").args(["-n", "-c", &text]).status();
                        assert!(sh.is_ok_and(|status| status.success()), "{} {name}", target.name);
                    }
                    if name.ends_with(".json") {
                        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
                        assert_eq!(json["boot-source"]["initrd_path"], "moon.initrd");
                        assert_eq!(json["network-interfaces"].is_array(), network);
                    }
                }
                let readme = readme(target, &facts(network), "abc", &["x".into()]);
                assert!(readme.contains(target.tried) && readme.contains("abc"), "{readme}");
            }
        }
    }

    #[test]
    fn names_are_what_hypervisors_take_and_an_unknown_target_has_all_named() {
        assert_eq!(safe("My App_2"), "my-app-2");
        assert_eq!(safe("/../"), "app");
        assert_eq!(safe("ü"), "app");
        let e = unknown("xn");
        assert!(e.help.starts_with("did you mean xen? the targets are: qemu, microvm, "), "{e:?}");
        assert!(TARGETS.iter().all(|target| e.help.contains(target.name)));
    }

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out");
        let left = || fs::read_dir(dir.path()).unwrap().count();
        let e = whole(&output, |folder| {
            fs::write(folder.join("half"), b"").unwrap();
            Err::<(), _>(Problem::new("no", "so"))
        });
        assert!(e.is_err() && left() == 0);
        whole(&output, |folder| {
            fs::write(folder.join("file"), b"").unwrap();
            Ok(())
        })
        .unwrap();
        assert!(output.join("file").is_file() && left() == 1);
        assert!(whole(&output, |_| Ok(())).unwrap_err().what.contains("there already"));
    }
}
