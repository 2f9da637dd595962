//! The checks of `hostcalls::conformance` on the stack, with a device and without.

mod pair;

use std::sync::Arc;

use lunette_hostcalls::{
    Clock, Nanos, Net, Wait,
    conformance::{NetWorld, run_network},
};
use lunette_net::{Stack, smoltcp::phy::Device};
use pair::{Dice, Hand, Lines, SECOND, config, wire};

fn conforms<D: Device + Send>(stack: &Arc<Stack<D>>, clock: &Hand) {
    let wait = |wait: &Wait| {
        let end: Nanos = clock.monotonic() + 5 * SECOND;
        loop {
            let next = stack.poll();
            let now = clock.monotonic();
            let come = wait.sockets.iter().any(|(socket, interest)| socket.ready(*interest).any());
            if come || now >= end || wait.until.is_some_and(|until| until <= now) {
                return;
            }
            clock.push_to(next.unwrap_or(end).clamp(now + 1000, end));
        }
    };
    let net: &dyn Net = &**stack;
    let mut failures = Vec::new();
    run_network(&NetWorld { net, wait: &wait }, &mut |name, result| {
        failures.extend(result.err().map(|error| format!("{name}: {error}")));
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_stack_without_a_device_conforms() {
    let clock = Arc::<Hand>::default();
    let stack = Stack::loopback(clock.clone(), Arc::new(Dice::new(1)), Arc::<Lines>::default());
    conforms(&stack, &clock);
}

#[test]
fn a_stack_with_a_device_conforms() {
    let clock = Arc::<Hand>::default();
    let (end, _other) = wire();
    let stack = Stack::new(end, config(1), clock.clone(), Arc::new(Dice::new(2)), Arc::<Lines>::default());
    conforms(&stack, &clock);
}
