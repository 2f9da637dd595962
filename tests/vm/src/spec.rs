//! A test image: the core specification's tests of wasm, in the machine itself. What the interpreter does
//! on a laptop it must do over the floor.

use lunette_hostcalls::farewell::Farewell;
use lunette_kernel::{mm, platform};

#[global_allocator]
static HEAP: mm::Heap = mm::Heap;

fn main() {
    std::panic::set_hook(Box::new(|info| lunette_kernel::report_panic(&format_args!("{info}"))));
    let totals = lunette_spec::run_spec(&mut |outcome| {
        for failure in &outcome.failed {
            println!("FAILED {}:{} {}", outcome.name, failure.line, failure.words);
        }
    });
    println!(
        "{} files, {} left out; {} assertions passed, {} failed, {} superseded, {} skipped",
        totals.files, totals.files_skipped, totals.passed, totals.failed, totals.superseded, totals.skipped
    );
    platform::end(&Farewell::Exit(u32::from(totals.failed > 0 || totals.passed < 100_000)));
}
