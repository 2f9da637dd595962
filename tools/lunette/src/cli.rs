//! The command line.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use lunette_bundle::Engine;
use lunette_native::Cpu;
use lunette_signature::PublicKey;

use crate::{
    app::DirMount,
    background::store,
    exit, export,
    network::{
        self,
        address::{Setting, parse_host, parse_name},
    },
    signing,
};

/// Boot a WebAssembly module or component, or a Lua script, as a virtual machine.
#[derive(Debug, Parser)]
#[command(name = "lunette", version, after_long_help = exit::TABLE, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say what is chosen and why
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run an app in a VM, or with --host as a process
    #[command(
        override_usage = "lunette run [OPTIONS] APP [ARGS]...",
        after_long_help = exit::TABLE,
        args_override_self = true
    )]
    Run(Box<Run>),
    /// Make a folder to begin with; without FOLDER, list what it can begin as
    New(New),
    /// Make a bundle
    Build(Build),
    /// Talk to Lua, with all modules and this machine's network; or, with APP, to a script that runs
    #[command(override_usage = "lunette repl [APP] [ARGS]...")]
    Repl {
        /// A .lua, or a folder with a lunette.toml; and its arguments, untouched
        #[arg(trailing_var_arg = true, value_names = ["APP", "ARGS"])]
        command: Vec<OsString>,
    },
    /// Say what would keep an app from running, without running it
    Check(Look),
    /// Show what is in an app; or what is known of a VM
    Inspect(Inspect),
    /// Sign bundles, or other files, in minisign's format; or make a pair of keys
    Sign(Sign),
    /// Say who has signed a bundle, or another file
    Verify(Verify),
    /// Export apps for hypervisors and clouds; get images of releases
    Image {
        #[command(subcommand)]
        verb: ImageVerb,
    },
    /// Say what this command is, and where it has its images from
    #[command(name = "self")]
    Own {
        #[command(flatten)]
        format: Format,
    },
    /// List the VMs in the background
    Ps(Ps),
    /// Show what a VM in the background said
    Logs(Logs),
    /// Ask VMs in the background to finish, and end those that do not
    Stop(Stop),
    /// Take away VMs that have ended, with what they said
    Rm(Rm),
    /// Wait until VMs in the background have ended, and print their exit codes
    Wait(Names),
    /// Look at this machine: what is there, what is missing, how to get it
    Doctor(Doctor),
    /// Print a completion script
    Completion { shell: clap_complete::Shell },
    /// Print the version
    Version {
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Set a variable for the app; without =VALUE, as it is here
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = parse_env)]
    pub env: Vec<(String, Option<String>)>,
    /// The VM's memory (default: 512Mi and the size of the app); with --host, the app's
    #[arg(short, long, value_name = "SIZE", value_parser = lunette_bundle::parse_size)]
    pub memory: Option<u64>,
    /// Give the app a copy of a folder, writable in RAM unless :ro; without ::GUEST under the same name
    #[arg(long, value_name = "HOST[::GUEST][:ro]", value_parser = parse_dir)]
    pub dir: Vec<DirMount>,
    /// Give the app an empty folder in RAM
    #[arg(long, value_name = "GUEST[:size=SIZE]", value_parser = parse_tmpfs)]
    pub tmpfs: Vec<(String, Option<u64>)>,
    /// The machine to emulate
    #[arg(long, default_value = "microvm", value_parser = ["microvm", "pc", "q35"])]
    pub machine: String,
    /// What executes the VM's instructions
    #[arg(long, value_enum, default_value_t)]
    pub accel: AccelChoice,
    /// Stop the app after so long: 30s, 500ms, 2m
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    pub timeout: Option<Duration>,
    /// Stop the app after so much work
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub fuel: Option<u64>,
    /// What executes WebAssembly (default: auto, native code where there is some or has to be)
    #[arg(long, value_name = "ENGINE", value_parser = engines())]
    pub engine: Option<Engine>,
    /// Compile modules ahead of time; components, and what is not interpreted, are anyway. Kept in the cache
    #[arg(long)]
    pub aot: bool,
    /// Compile for such a processor and later ones (default: v1, all of x86-64; with --host, this machine's)
    #[arg(long, value_name = "LEVEL", value_parser = cpus())]
    pub cpu: Option<Cpu>,
    /// Write a flame graph of where native code spends its time: a sample each 10 ms that it runs. Modules are compiled for it. The
    /// stacks are in FILE.folded, for other tools
    #[arg(long, value_name = "FILE.svg", value_parser = parse_profile, conflicts_with_all = ["detach", "dry_run"])]
    pub profile: Option<PathBuf>,
    /// Run nothing but what this key, or another that is named, has signed: RW…, or a .pub file. The signature is APP.minisig; what
    /// this run adds (arguments, variables, grants) is not signed
    #[arg(long, value_name = "KEY", value_parser = signing::parse_key)]
    pub trust: Vec<PublicKey>,
    /// Have the image refuse native code unless a key is trusted (--trust) that has signed it
    #[arg(long)]
    pub require_signed: bool,
    /// Put a script's new version in its place whenever its files change; listeners stay open. It gets no input
    #[arg(long, conflicts_with_all = ["detach", "dry_run", "repl"])]
    pub watch: bool,
    /// Talk to the script on standard input: what is typed is run in it
    #[arg(long, conflicts_with_all = ["detach"])]
    pub repl: bool,
    /// Let scripts be bytecode whose manifest wants it: Lua checks none of it
    #[arg(long)]
    pub allow_bytecode: bool,
    /// Run the VM in the background, and print its identifier
    #[arg(short, long, conflicts_with_all = ["host", "dry_run"])]
    pub detach: bool,
    /// What to call the VM in the background (default: as the app calls itself)
    #[arg(long, requires = "detach", value_parser = store::parse_name)]
    pub name: Option<String>,
    /// Print the command that would run the VM, and end
    #[arg(long, conflicts_with = "host")]
    pub dry_run: bool,
    /// Run the app as a process of this machine, without a VM
    #[arg(long)]
    pub host: bool,
    /// The kernel image: full, a variant (wasm, lua, native), a file, or a folder to choose from (default: $LUNETTE_IMAGE, or
    /// the smallest of the installed ones that has what the app needs)
    #[arg(long, value_name = "NAME|PATH")]
    pub image: Option<PathBuf>,
    /// The QEMU to use (default: the one in $PATH)
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
    // Last, for its heading holds for all that follows.
    #[command(flatten)]
    pub http: Http,
    #[command(flatten)]
    pub network: network::Flags,
    /// A .wasm (module or component), a .lua, a bundle, or a folder with a lunette.toml; and the app's arguments, untouched
    #[arg(required = true, trailing_var_arg = true, value_names = ["APP", "ARGS"])]
    pub command: Vec<OsString>,
}

/// How an app is served that handles requests.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "HTTP, for components that handle requests")]
pub struct Http {
    /// Serve TLS, with a certificate and its key: files in PEM, which the app does not find
    #[arg(long, value_name = "CERT,KEY", value_parser = parse_tls)]
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How many requests may be handled at once; the next ones are answered 503
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_requests: Option<u64>,
    /// How many requests an instance may handle, one after the other (default: 1, each has its own)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub reuse: Option<u64>,
}

#[derive(Args, Debug)]
pub struct New {
    /// What to begin as
    #[arg(short, long, value_name = "NAME", default_value = "lua-http")]
    pub template: String,
    /// What to make; its name is the app's
    pub folder: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Build {
    /// Where to put the bundle (default: NAME.lunette, here)
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Put native code for modules beside them, too; components, and what is not interpreted, have some anyway
    #[arg(long)]
    pub aot: bool,
    /// Compile for such a processor and later ones (default: v1, all of x86-64)
    #[arg(long, value_name = "LEVEL", value_parser = cpus())]
    pub cpu: Option<Cpu>,
    /// Put the files of a folder into the bundle, for the app to find at GUEST
    #[arg(long, value_name = "HOST[::GUEST][:ro]", value_parser = parse_dir)]
    pub dir: Vec<DirMount>,
    /// Set a variable for the app; without =VALUE, as it is here
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = parse_env)]
    pub env: Vec<(String, Option<String>)>,
    /// A .wasm (module or component), a .lua, a bundle, or a folder with a lunette.toml
    #[arg(default_value = ".")]
    pub app: PathBuf,
}

#[derive(Args, Debug)]
pub struct Sign {
    /// The secret key: a file of minisign's
    #[arg(short, long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Make a pair of keys, FILE and FILE.pub, and print the public one
    #[arg(long, value_name = "FILE")]
    pub new_key: Option<PathBuf>,
    /// A file with the secret key's password (default: asked for, if it has one)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// A line that is signed, too (default: time, file name and SHA-256)
    #[arg(short, long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// What to sign; the signature is FILE.minisig
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Verify {
    /// Whose signature is believed: RW…, or a .pub file; more than once for several
    #[arg(short, long, required = true, value_name = "KEY", value_parser = signing::parse_key)]
    pub key: Vec<PublicKey>,
    /// The signature (default: FILE.minisig)
    #[arg(long, value_name = "PATH")]
    pub signature: Option<PathBuf>,
    #[command(flatten)]
    pub format: Format,
    /// What was signed
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ImageVerb {
    /// Write an app and its kernel as a hypervisor takes them, with what starts them there
    #[command(
        override_usage = "lunette image export --for TARGET [OPTIONS] APP [ARGS]...",
        after_long_help = export::help()
    )]
    Export(Box<Export>),
    #[command(flatten)]
    Releases(Releases),
}

#[derive(Debug, Subcommand)]
pub enum Releases {
    /// List the images that were pulled; with --from, what there is
    Ls {
        #[command(flatten)]
        from: ReleasesFrom,
        #[command(flatten)]
        format: Format,
    },
    /// Get the images of a release, or these of them; what was cut short goes on where it stopped
    Pull {
        #[command(flatten)]
        from: ReleasesFrom,
        /// Of the release: full, wasm, lua, native, loaders (default: all)
        #[arg(value_name = "NAME")]
        artifacts: Vec<String>,
    },
    /// Check the images that were pulled against the index that they came with
    Verify {
        /// Whose signature is believed (default: the releases' own keys)
        #[arg(short, long, value_name = "KEY", value_parser = signing::parse_key)]
        key: Vec<PublicKey>,
        /// Versions (default: all)
        #[arg(value_name = "VERSION")]
        versions: Vec<String>,
    },
    /// Copy a release into a folder, which then can be given to --from
    Mirror {
        #[command(flatten)]
        from: ReleasesFrom,
        folder: PathBuf,
    },
    /// Take away the images of other versions, and what is left of downloads
    Prune {
        /// The version to keep (default: this command's own)
        #[arg(long, value_name = "VERSION")]
        keep: Option<String>,
    },
}

/// Where releases are, and whom they must come from.
#[derive(Args, Clone, Debug)]
pub struct ReleasesFrom {
    /// A URL, or a mirror's folder (default: $LUNETTE_RELEASES)
    #[arg(long, value_name = "URL|DIR")]
    pub from: Option<String>,
    /// Which releases
    #[arg(long, value_name = "NAME", default_value = "stable")]
    pub stream: String,
    /// Whose signature on the index is believed: RW…, or a .pub file (default: the releases' own keys)
    #[arg(short, long, value_name = "KEY", value_parser = signing::parse_key)]
    pub key: Vec<PublicKey>,
}

#[derive(Args, Debug)]
pub struct Export {
    /// What to export for
    #[arg(long = "for", value_name = "TARGET")]
    pub target: String,
    /// The folder to make (default: NAME-TARGET, here)
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// The VM's memory (default: 512Mi and the size of the app)
    #[arg(short, long, value_name = "SIZE", value_parser = lunette_bundle::parse_size)]
    pub memory: Option<u64>,
    /// The disk's size, where there is a disk (default: as small as can be)
    #[arg(long, value_name = "SIZE", value_parser = lunette_bundle::parse_size)]
    pub size: Option<u64>,
    /// Set a variable for the app; without =VALUE, as it is here
    #[arg(short, long, value_name = "NAME[=VALUE]", value_parser = parse_env)]
    pub env: Vec<(String, Option<String>)>,
    /// Put a key into the image: it then runs nothing but what this one, or another that is named, has signed
    #[arg(long, value_name = "KEY", value_parser = signing::parse_key)]
    pub trust: Vec<PublicKey>,
    /// Where it gets settings from when it starts: auto, or some of fw_cfg, smbios, disk (NoCloud, config-drive), metadata (a cloud's
    /// service at 169.254.169.254). From here it then has only those that are named
    #[arg(long, value_name = "SOURCES", value_parser = parse_sources)]
    pub config_from: Option<String>,
    /// The kernel image: full, a variant (wasm, lua, native), a file, or a folder to choose from
    #[arg(long, value_name = "NAME|PATH")]
    pub image: Option<PathBuf>,
    /// Print what was made as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub address: Address,
    /// A .wasm (module or component), a .lua, a bundle, or a folder with a lunette.toml; and the app's arguments, untouched
    #[arg(required = true, trailing_var_arg = true, value_names = ["APP", "ARGS"])]
    pub command: Vec<String>,
}

/// Who a VM is on its network.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Network, for apps that are granted some")]
pub struct Address {
    /// The VM's IPv4 address: dhcp, none or ADDR/BITS[,GATEWAY] (default: dhcp)
    #[arg(long, value_name = "IP")]
    pub ip: Option<Setting<Ipv4Addr>>,
    /// The VM's IPv6 address: auto, none or ADDR/BITS[,GATEWAY] (default: auto)
    #[arg(long, value_name = "IP")]
    pub ip6: Option<Setting<Ipv6Addr>>,
    /// The name servers to ask
    #[arg(long, value_name = "ADDR", value_delimiter = ',')]
    pub dns: Vec<IpAddr>,
    /// The VM's own name
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub hostname: Option<String>,
    /// A name that needs no name server
    #[arg(long, value_name = "NAME:ADDR", value_parser = parse_host)]
    pub add_host: Vec<(String, IpAddr)>,
}

impl Address {
    pub fn flags(&self) -> network::Flags {
        let Self { ip, ip6, dns, hostname, add_host } = self.clone();
        network::Flags { ip, ip6, dns, hostname, add_host, ..network::Flags::default() }
    }
}

#[derive(Args, Debug)]
pub struct Look {
    #[command(flatten)]
    pub format: Format,
    /// A .wasm (module or component), a .lua, a bundle, or a folder with a lunette.toml
    #[arg(default_value = ".")]
    pub app: PathBuf,
}

#[derive(Args, Debug)]
pub struct Inspect {
    #[command(flatten)]
    pub format: Format,
    /// A .wasm (module or component), a .lua, a bundle, or a folder with a lunette.toml; else the name of a VM, or how its identifier begins
    #[arg(default_value = ".")]
    pub thing: PathBuf,
}

#[derive(Args, Debug)]
pub struct Ps {
    /// Those that have ended, too
    #[arg(short, long)]
    pub all: bool,
    #[command(flatten)]
    pub format: Format,
}

#[derive(Args, Debug)]
pub struct Logs {
    /// Go on with what it says from now on, until it ends
    #[arg(short, long)]
    pub follow: bool,
    /// No more than this many lines of what it said
    #[arg(long, value_name = "N")]
    pub tail: Option<usize>,
    /// Say when it was said
    #[arg(short, long)]
    pub timestamps: bool,
    #[command(flatten)]
    pub format: Format,
    /// A VM's name, or how its identifier begins
    pub name: String,
}

#[derive(Args, Debug)]
pub struct Stop {
    /// How long they may take to finish: 10 (seconds), 500ms, 2m; 0 kills at once (default: 10 seconds)
    #[arg(short, long, value_name = "TIME", value_parser = parse_patience)]
    pub time: Option<Duration>,
    /// VMs' names, or how their identifiers begin
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Rm {
    /// Kill them first if they run
    #[arg(short, long)]
    pub force: bool,
    /// VMs' names, or how their identifiers begin
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Names {
    /// VMs' names, or how their identifiers begin
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Doctor {
    #[command(flatten)]
    pub format: Format,
    /// The kernel image: full, a variant (wasm, lua, native), a file or a folder (default: $LUNETTE_IMAGE, or all installed)
    #[arg(long, value_name = "NAME|PATH")]
    pub image: Option<PathBuf>,
    /// The QEMU to use (default: the one in $PATH)
    #[arg(long, value_name = "PATH")]
    pub qemu: Option<PathBuf>,
}

#[derive(Args, Clone, Copy, Debug)]
pub struct Format {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

impl Format {
    pub fn json(self) -> bool {
        self.output == Output::Json
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AccelChoice {
    /// KVM where a usable one is found, else TCG
    #[default]
    Auto,
    Tcg,
    Kvm,
}

/// What the kernel knows ([`lunette_config::Wanted`]), and its own words for what it does not.
fn parse_sources(value: &str) -> Result<String, String> {
    let help = |why: String| why.rsplit("help: ").next().unwrap_or_default().to_owned();
    lunette_config::Wanted::parse(value).map(|_| value.to_owned()).map_err(help)
}

fn parse_env(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("a variable has a name: NAME=VALUE".into());
    }
    Ok((name.to_owned(), value))
}

fn engines() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(Engine::ALL.map(Engine::name))
        .map(|name| Engine::from_name(&name).unwrap_or_default())
}

fn cpus() -> impl TypedValueParser<Value = Cpu> {
    PossibleValuesParser::new(Cpu::ALL.map(Cpu::name)).map(|name| Cpu::from_name(&name).unwrap_or_default())
}

fn parse_tls(text: &str) -> Result<(PathBuf, PathBuf), String> {
    match text.split_once(',') {
        Some((cert, key)) if !cert.is_empty() && !key.is_empty() => Ok((cert.into(), key.into())),
        _ => Err("it is two files, the certificate and its key: cert.pem,key.pem".into()),
    }
}

fn parse_profile(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.extension().is_none_or(|extension| extension != "svg") {
        return Err("it is a picture: FILE.svg".into());
    }
    Ok(path)
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match lunette_bundle::parse_duration(text)? {
        Duration::ZERO => Err("a timeout of 0 would stop the app at once".into()),
        duration => Ok(duration),
    }
}

/// Seconds, or with a unit.
fn parse_patience(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => lunette_bundle::parse_duration(text),
    }
}

fn parse_dir(text: &str) -> Result<DirMount, String> {
    let (text, writable) = match text.strip_suffix(":ro") {
        Some(text) => (text, false),
        None => (text, true),
    };
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err("a mount is HOST, HOST::GUEST or HOST::GUEST:ro".into());
    }
    Ok(DirMount { host: host.into(), guest: guest.to_owned(), writable })
}

fn parse_tmpfs(text: &str) -> Result<(String, Option<u64>), String> {
    let (path, size) = match text.rsplit_once(":size=") {
        Some((_, "0")) => return Err("nothing fits into a folder of size 0".into()),
        Some((path, size)) => (path, Some(lunette_bundle::parse_size(size)?)),
        None => (text, None),
    };
    if path.is_empty() {
        return Err("a folder in RAM is GUEST or GUEST:size=16Mi".into());
    }
    Ok((path.to_owned(), size))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(words: &str) -> Run {
        let words = ["lunette", "run"].into_iter().chain(words.split(' '));
        match Cli::try_parse_from(words).unwrap().verb {
            Verb::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn all_after_the_app_is_the_apps() {
        let parsed = run("-e A=1 app.wasm -e B=2 --help -m 3 -- -v -- x");
        assert_eq!(parsed.env, [("A".into(), Some("1".into()))]);
        assert_eq!(parsed.command, ["app.wasm", "-e", "B=2", "--help", "-m", "3", "--", "-v", "--", "x"]);
        assert_eq!(parsed.memory, None);
        assert_eq!(run("-- --odd.wasm -x").command, ["--odd.wasm", "-x"]);
    }

    #[test]
    fn unknown_flags_before_the_app_are_errors() {
        assert!(Cli::try_parse_from(["lunette", "run", "--tiemout", "3s", "app.wasm"]).is_err());
        assert!(Cli::try_parse_from(["lunette", "run"]).is_err());
        assert!(Cli::try_parse_from(["lunette", "run", "--machine", "vax", "app.wasm"]).is_err());
    }

    #[test]
    fn a_profile_is_a_picture() {
        assert_eq!(run("--profile out/app.svg app.wasm").profile, Some("out/app.svg".into()));
        for words in ["--profile app.wasm", "--profile app.folded app.wasm", "--profile a.svg -d app.wasm"] {
            let words = ["lunette", "run"].into_iter().chain(words.split(' '));
            assert!(Cli::try_parse_from(words).is_err());
        }
    }

    #[test]
    fn engines_and_processors_are_known_by_name() {
        let parsed = run("--engine wasmtime --aot --cpu v3 --reuse 4 --tls c.pem,k.pem app.wasm");
        assert_eq!((parsed.engine, parsed.aot, parsed.cpu), (Some(Engine::Wasmtime), true, Some(Cpu::V3)));
        assert_eq!((parsed.http.reuse, parsed.http.tls), (Some(4), Some(("c.pem".into(), "k.pem".into()))));
        for bad in ["--engine v8", "--cpu v4", "--reuse 0", "--tls c.pem"] {
            let words = format!("lunette run {bad} app.wasm");
            assert!(Cli::try_parse_from(words.split(' ')).is_err(), "{bad}");
        }
    }

    #[test]
    fn mounts_in_every_form() {
        let dir =
            |host: &str, guest: &str, writable| DirMount { host: host.into(), guest: guest.into(), writable };
        let parsed =
            run("--dir a::/b --dir a::/b:ro --dir fs.dir --dir . --tmpfs /x --tmpfs y:size=16Mi app");
        assert_eq!(
            parsed.dir,
            [dir("a", "/b", true), dir("a", "/b", false), dir("fs.dir", "fs.dir", true), dir(".", ".", true)]
        );
        assert_eq!(parsed.tmpfs, [("/x".into(), None), ("y".into(), Some(16 << 20))]);
        for bad in ["", "::", "a::", "::b"] {
            assert!(parse_dir(bad).is_err(), "{bad:?}");
        }
        assert!(parse_tmpfs("x:size=apples").is_err() && parse_tmpfs(":size=1M").is_err());
    }

    #[test]
    fn variables_with_and_without_a_value() {
        assert_eq!(parse_env("A"), Ok(("A".into(), None)));
        assert_eq!(parse_env("A=b=c"), Ok(("A".into(), Some("b=c".into()))));
        assert!(parse_env("=x").is_err());
        assert_eq!(parse_patience("10"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_patience("0"), Ok(Duration::ZERO));
        assert_eq!(parse_patience("500ms"), Ok(Duration::from_millis(500)));
        assert!(parse_patience("-1").is_err() && parse_patience("soon").is_err());
        assert_eq!(parse_tls("a,b"), Ok(("a".into(), "b".into())));
        assert!(parse_tls("a").is_err() && parse_tls("a,").is_err());
        assert!(parse_timeout("0s").is_err() && parse_timeout("3").is_err());
    }
}
