//! The date from the CMOS clock (Motorola MC146818): whole seconds, in UTC as hypervisors keep it.

use x86_64::instructions::port::Port;

fn cmos(register: u8) -> u8 {
    // SAFETY: CMOS index (with the NMI mask bit clear) and data ports; reading has no effect.
    unsafe {
        Port::<u8>::new(0x70).write(register);
        Port::<u8>::new(0x71).read()
    }
}

/// Seconds, minutes, hours, day, month, year, status B.
fn snapshot() -> [u8; 7] {
    [0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x0b].map(cmos)
}

/// Nanoseconds since 1970, or `None` where there is no such clock.
pub(super) fn read_rtc() -> Option<u64> {
    // Two readings that agree, none while the clock updates itself (status A, bit 7).
    let mut now = snapshot();
    for _ in 0..1000 {
        let updating = cmos(0x0a) & 0x80 != 0;
        let again = snapshot();
        if !updating && again == now {
            return parse(now);
        }
        now = again;
    }
    None
}

fn parse(raw: [u8; 7]) -> Option<u64> {
    let status = raw[6];
    if raw == [0xff; 7] {
        return None; // nothing answers at these ports
    }
    let number = |byte: u8| u64::from(if status & 4 != 0 { byte } else { (byte >> 4) * 10 + (byte & 15) });
    let [second, minute, day, month, year] = [raw[0], raw[1], raw[3], raw[4], raw[5]].map(number);
    let hour = if status & 2 != 0 {
        number(raw[2])
    } else {
        number(raw[2] & 0x7f) % 12 + if raw[2] & 0x80 != 0 { 12 } else { 0 }
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 of a date from 2000 to 2099.
    let shifted = (month + 9) % 12;
    let y = 2000 + year - u64::from(month <= 2);
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (shifted * 306 + 5) / 10 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000)
}
