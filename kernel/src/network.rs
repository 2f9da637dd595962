//! stub until the stack is merged
use crate::drivers::machine;
pub use crate::drivers::machine::Card;
use alloc::string::String;
use lunette_hostcalls::Nanos;
pub fn open() -> Result<Card, String> {
    match machine::open_card(1 << 20) {
        None => Err("no NIC".into()),
        Some(Err(fault)) => Err(alloc::format!("{fault}")),
        Some(Ok(())) => Card::new().ok_or_else(|| "gone".into()),
    }
}
pub(crate) fn poll(now: Nanos) -> bool {
    if let Some(nic) = machine::nic() {
        let had = nic.work();
        nic.flush(smoltcp::time::Instant::from_micros((now / 1000) as i64));
        return had;
    }
    false
}
pub(crate) fn next(_: Nanos) -> Option<Nanos> {
    None
}
