//! The `date` field.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};

use http::HeaderValue;
use lunette_hostcalls::task::Time;

thread_local! {
    /// The second that was last asked for.
    static LAST: RefCell<(u64, Option<HeaderValue>)> = const { RefCell::new((0, None)) };
}

/// As RFC 9110, 6.6.1, has it; `None`: there is no date. Made once a second.
pub(crate) fn date(time: &Time) -> Option<HeaderValue> {
    let second = time.wall()? / 1_000_000_000;
    LAST.with_borrow_mut(|(last, value)| {
        if *last != second || value.is_none() {
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(second))?;
            // It has years of four digits, and panics over others.
            if second >= 253_402_300_800 {
                return None;
            }
            *value = HeaderValue::try_from(httpdate::fmt_http_date(at)).ok();
            *last = second;
        }
        value.clone()
    })
}
