//! A test image: what std, an engine and a guest need of the floor, tried in the machine itself.
//!
//! Prints a line a check, `N passed, N failed`, and exits with 0 or 1. With `lunette.crash=NAME` it dies
//! in the way named instead: the stories look at what the kernel then says.

mod crash;
mod faults;
mod memory;
mod native;
mod network;
mod runtime;
mod services;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lunette_hostcalls::farewell::Farewell;
use lunette_kernel::{boot, mm, platform};

#[global_allocator]
static HEAP: mm::Heap = mm::Heap;

/// A named check; it fails by panicking.
pub(crate) type Check = (&'static str, fn());

fn main() {
    if let Some(name) = boot::info().cmdline.get("crash") {
        std::panic::set_hook(Box::new(|info| lunette_kernel::report_panic(&format_args!("{info}"))));
        crash::die(name);
    }
    // A panic's words are the check's verdict; the backtrace would only hide it.
    std::panic::set_hook(Box::new(|info| println!("  {info}")));
    let (mut passed, mut failed) = (0, 0);
    // The network before those who use up the memory: a device's is taken in one piece, early, as in the image.
    for (name, check) in
        [runtime::CHECKS, network::CHECKS, native::CHECKS, memory::CHECKS, faults::CHECKS, services::CHECKS]
            .concat()
    {
        match catch_unwind(AssertUnwindSafe(check)) {
            Ok(()) => {
                println!("ok {name}");
                passed += 1;
            }
            Err(_) => {
                println!("FAILED {name}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    platform::end(&Farewell::Exit(u32::from(failed > 0)));
}
