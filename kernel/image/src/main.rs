//! The composition root: what boots. Knows the kernel and the runtimes, and nothing that either could know.

use std::{io, sync::Arc};

use lunette_app::{Code, Launch, Native, Profile, Refusal, Services, Trust};
use lunette_hostcalls::farewell::Farewell;
use lunette_kernel::{
    boot,
    cmdline::Cmdline,
    configuration::{self, Settings},
    console::{Level, log_line},
    mm, network, platform,
    services::{KernelClock, KernelHost, KernelLog, KernelRandom, KernelStdio, KernelVersions},
    time,
};

#[global_allocator]
static HEAP: mm::Heap = mm::Heap;

// What this image holds, for who has but the file (`lunette run` chooses by it): an ELF note of "Lunette", type 1, with
// `NAME=VALUE` words in ASCII.
core::arch::global_asm!(
    ".pushsection .note.lunette, \"a\", @note",
    ".balign 4",
    ".long 2f - 1f, 4f - 3f, 1",
    "1: .asciz \"Lunette\"",
    "2: .balign 4",
    concat!("3: .ascii \"version=", env!("CARGO_PKG_VERSION"), " runtimes=", env!("LUNETTE_RUNTIMES"), "\""),
    "4: .balign 4",
    ".popsection",
);

// Room for the keys of those whose apps alone this image runs, in words, until a zero: none as it is built. `lunette image
// export --trust` fills it in the file. A note of type 2, so that it can be found there.
core::arch::global_asm!(
    ".pushsection .note.lunette, \"a\", @note",
    ".balign 4",
    ".long 2f - 1f, 4f - 3f, 2",
    "1: .asciz \"Lunette\"",
    "2: .balign 4",
    ".globl lunette_trust",
    "lunette_trust:",
    "3: .zero 456",
    "4: .balign 4",
    ".popsection",
);

unsafe extern "C" {
    // The same room, for us. It is never written to once the file is made.
    safe static lunette_trust: [u8; 456];
}

/// Whose apps are run: as this image says, and as the command line does.
fn trust(cmdline: &Cmdline<'static>) -> Result<Trust, Refusal> {
    let mut trust = Trust::default();
    let baked = lunette_trust.split(|&byte| byte == 0).next().unwrap_or_default();
    if !baked.is_empty() {
        trust.demand("in the image", baked.split(|&byte| byte == b' ').filter(|word| !word.is_empty()))?;
    }
    trust.demand("lunette.trust", cmdline.values("trust"))?;
    match configuration::found() {
        Some(settings) => demand(trust, settings),
        None => Ok(trust),
    }
}

#[cold]
fn demand(mut trust: Trust, settings: &Settings) -> Result<Trust, Refusal> {
    for (source, keys) in settings.trust() {
        trust.demand(source.name(), keys)?;
    }
    Ok(trust)
}

/// What the settings say of the app.
fn settings_of_app() -> Result<Launch, Refusal> {
    let Some(settings) = configuration::found() else { return Ok(Launch::default()) };
    let data = settings.user_data().map(|(text, source)| (text, source.name()));
    lunette_app::settings(data, &mut settings.env(), &mut |line| {
        log_line(Level::Info, format_args!("{line}"))
    })
}

/// What stays with the kernel when a guest takes all it may: page tables, stacks, translated code.
fn kernel_share(free: u64) -> u64 {
    (free / 4).min(4 << 20)
}

fn main() {
    std::panic::set_hook(Box::new(|info| lunette_kernel::report_panic(&format_args!("{info}"))));
    let farewell = std::panic::catch_unwind(boot_app)
        .unwrap_or_else(|_| Farewell::Panic("the kernel panicked: see the lines above".into()));
    platform::end(&farewell)
}

fn boot_app() -> Farewell {
    time::mark("services");
    let info = boot::info();
    if info.cmdline.has("probe") {
        // `lunette run` asks whether this hypervisor runs the kernel at a useful speed.
        return Farewell::Exit(0);
    }
    let Some(payload) = info.payload else {
        platform::refuse(format_args!(
            "there is no app: no initrd was handed over; help: lunette run APP, or give QEMU -initrd BUNDLE"
        ))
    };
    if let Err(why) = configuration::gather() {
        platform::refuse(format_args!("{why}"));
    }
    let free = mm::free_bytes();
    let free = free - kernel_share(free);
    let free = free - network::share(free);
    let told = trust(&info.cmdline).and_then(|trust| Ok((trust, settings_of_app()?)));
    let (trust, settings) = match told {
        Ok(told) => told,
        Err(refusal) => platform::refuse(format_args!("{}", refusal.0)),
    };
    let profile = info.cmdline.has("profile").then(Profile::begin);
    let services = Services {
        clock: Arc::new(KernelClock),
        random: Arc::new(KernelRandom),
        stdio: Arc::new(KernelStdio),
        log: Arc::new(KernelLog),
        network: Arc::new(network::raise),
        memory: free,
        mount_size: free / 2,
        native: Native { open: Arc::new(move |code| native_code(payload, code)), tick: Arc::new(tick) },
        trust,
        require_signed: info.cmdline.has("require-signed")
            || configuration::found().is_some_and(|settings| settings.requires_signed()),
        settings,
        versions: Some(Arc::new(KernelVersions)),
        profile,
    };
    time::mark("runtime");
    match lunette_app::start(payload, &services) {
        Ok(app) => {
            time::mark("started");
            let farewell = lunette_app::run(app, &mut KernelHost);
            network::linger();
            if let Some(profile) = profile {
                profile.samples().lines().for_each(|line| platform::report(format_args!("{line}")));
            }
            farewell
        }
        Err(refusal) => platform::refuse(format_args!("{}", refusal.0)),
    }
}

/// Native code of the payload's, by the name under which the floor maps it.
fn native_code(payload: &[u8], code: &[u8]) -> io::Result<Code> {
    let offset = code.as_ptr().addr().wrapping_sub(payload.as_ptr().addr());
    Ok(Code { path: format!("/.lunette/payload/{offset}-{}", code.len()).into(), keep: None })
}

/// How long a guest may run on before the others have a go.
const TICK: u64 = 1_000_000;
/// The same while there is a profile, whose samples are ticks.
const SAMPLE: u64 = 10_000_000;

fn tick() {
    extern "C" fn count() {
        lunette_app::ticker();
    }
    time::on_tick(if boot::info().cmdline.has("profile") { SAMPLE } else { TICK }, Some(count));
}
