//! From counts of a counter to nanoseconds: one multiplication.

/// `nanos = base_nanos + (count - base_count) * multiplier / 2^32`.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    base_count: u64,
    base_nanos: u64,
    multiplier: u64,
}

impl Scale {
    /// A counter of `hz` that stood at `base_count` when `base_nanos` had passed.
    pub const fn new(base_count: u64, base_nanos: u64, hz: u64) -> Self {
        let hz = if hz == 0 { 1 } else { hz };
        Self { base_count, base_nanos, multiplier: ((1_000_000_000u128 << 32) / hz as u128) as u64 }
    }

    #[inline]
    pub const fn nanos(&self, count: u64) -> u64 {
        self.base_nanos + self.span(count.saturating_sub(self.base_count))
    }

    /// Nanoseconds in this many counts.
    #[inline]
    pub const fn span(&self, counts: u64) -> u64 {
        ((counts as u128 * self.multiplier as u128) >> 32) as u64
    }
}

/// Hertz of the TSC where a hypervisor (KVM, Xen) tells how its time comes from it:
/// `nanos = (tsc << shift) * multiplier / 2^32`. `None`: that makes no sense.
pub fn frequency(multiplier: u32, shift: i8) -> Option<u64> {
    if multiplier == 0 || shift.unsigned_abs() >= 32 {
        return None;
    }
    let hz = (1_000_000_000u128 << 32) / u128::from(multiplier);
    let hz = if shift >= 0 { hz >> shift } else { hz << shift.unsigned_abs() };
    u64::try_from(hz).ok().filter(|&hz| hz >= 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::{Scale, frequency};

    #[test]
    fn a_frequency_from_its_factor() {
        // 2.6 GHz: 2^32 / 2.6, and the same with shifts.
        let factor = ((1_u64 << 32) * 10 / 26) as u32;
        assert!(frequency(factor, 0).unwrap().abs_diff(2_600_000_000) < 10);
        assert!(frequency(factor / 2 * 2, 1).unwrap().abs_diff(1_300_000_000) < 10);
        assert!(frequency(factor, -1).unwrap().abs_diff(5_200_000_000) < 10);
        assert_eq!(
            [frequency(0, 0), frequency(1, 40), frequency(1, i8::MIN), frequency(u32::MAX, 31)],
            [None; 4]
        );
    }

    #[test]
    fn years_stay_exact_and_nothing_overflows() {
        let scale = Scale::new(1000, 5, 2_600_000_000);
        assert_eq!(scale.nanos(1000), 5);
        assert_eq!(scale.nanos(0), 5, "a count before the base is the base");
        let year = 365 * 86_400;
        let off = scale.nanos(1000 + year * 2_600_000_000).abs_diff(5 + year * 1_000_000_000);
        assert!(off < year, "off by {off} ns in a year: more than 1 in 10^9");
        let _ = scale.nanos(u64::MAX);
        let _ = Scale::new(0, 0, 0).nanos(12);
    }
}
