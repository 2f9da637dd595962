//! Dates in UTC: the proleptic Gregorian calendar, and C99's `strftime` in the `C` locale.

use std::fmt::Write;

/// A time, broken down.
pub(super) struct Date {
    pub(super) year: i64,
    /// From 1 on, as `day` and `day_of_year`.
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    /// Sunday is 0.
    pub(super) weekday: i64,
    pub(super) day_of_year: i64,
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// `LUA_STRFTIMEOPTIONS` of C99.
const SINGLE: &[u8] = b"aAbBcCdDeFgGhHIjmMnprRStTuUVwWxXyYzZ%";
const AFTER_E: &[u8] = b"cCxXyY";
const AFTER_O: &[u8] = b"deHImMSuUVwWy";

impl Date {
    /// `None`: the year is out of C's reach.
    pub(super) fn of(seconds: i64) -> Option<Self> {
        let (days, rest) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
        // Years from March on, in eras of 400.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
        let day_of_march_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_march_year + 2) / 153;
        let day = day_of_march_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        i32::try_from(year - 1900).ok()?;
        Some(Self {
            year,
            month,
            day,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7),
            day_of_year: days - days_before(year, 1) + 1,
        })
    }

    /// `mktime`: fields may be out of their range. Each is an `int` of C's.
    pub(super) fn seconds(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64) -> i64 {
        let year = year + (month - 1).div_euclid(12);
        let month = (month - 1).rem_euclid(12) + 1;
        (days_before(year, month) + day - 1) * 86400 + hour * 3600 + minute * 60 + second
    }

    /// As `strftime`. `Err`: what follows the `%` that means nothing.
    pub(super) fn format<'f>(&self, mut format: &'f [u8]) -> Result<Vec<u8>, &'f [u8]> {
        let mut out = Vec::with_capacity(format.len() * 2);
        while let Some((&byte, rest)) = format.split_first() {
            format = rest;
            if byte != b'%' {
                out.push(byte);
                continue;
            }
            let option = match rest {
                [b'E', option, ..] if AFTER_E.contains(option) => *option,
                [b'O', option, ..] if AFTER_O.contains(option) => *option,
                [option, ..] if SINGLE.contains(option) => *option,
                _ => return Err(rest),
            };
            format = &rest[if matches!(rest[0], b'E' | b'O') { 2 } else { 1 }..];
            let mut text = String::new();
            self.one(option, &mut text).expect("there is always room in a string");
            out.extend_from_slice(text.as_bytes());
        }
        Ok(out)
    }

    fn one(&self, option: u8, out: &mut String) -> std::fmt::Result {
        let day = DAYS[self.weekday as usize];
        let month = MONTHS[self.month as usize - 1];
        let twelve = (self.hour + 11) % 12 + 1;
        // The weeks of a year begin on the first Sunday, or Monday.
        let week = |first: i64| (self.day_of_year + 6 - (self.weekday - first).rem_euclid(7)) / 7;
        match option {
            b'a' => out.write_str(&day[..3]),
            b'A' => out.write_str(day),
            b'b' | b'h' => out.write_str(&month[..3]),
            b'B' => out.write_str(month),
            b'c' => self.all(b"abeTY", " ", out),
            b'C' => write!(out, "{:02}", self.year.div_euclid(100)),
            b'd' => write!(out, "{:02}", self.day),
            b'D' | b'x' => self.all(b"mdy", "/", out),
            b'e' => write!(out, "{:2}", self.day),
            b'F' => self.all(b"Ymd", "-", out),
            b'g' => write!(out, "{:02}", self.iso_week().0.rem_euclid(100)),
            b'G' => write!(out, "{}", self.iso_week().0),
            b'H' => write!(out, "{:02}", self.hour),
            b'I' => write!(out, "{twelve:02}"),
            b'j' => write!(out, "{:03}", self.day_of_year),
            b'm' => write!(out, "{:02}", self.month),
            b'M' => write!(out, "{:02}", self.minute),
            b'n' => out.write_char('\n'),
            b'p' => out.write_str(if self.hour < 12 { "AM" } else { "PM" }),
            b'r' => {
                self.all(b"IMS", ":", out)?;
                out.write_str(if self.hour < 12 { " AM" } else { " PM" })
            }
            b'R' => self.all(b"HM", ":", out),
            b'S' => write!(out, "{:02}", self.second),
            b't' => out.write_char('\t'),
            b'T' | b'X' => self.all(b"HMS", ":", out),
            b'u' => write!(out, "{}", (self.weekday + 6) % 7 + 1),
            b'U' => write!(out, "{:02}", week(0)),
            b'V' => write!(out, "{:02}", self.iso_week().1),
            b'w' => write!(out, "{}", self.weekday),
            b'W' => write!(out, "{:02}", week(1)),
            b'y' => write!(out, "{:02}", self.year.rem_euclid(100)),
            b'Y' => write!(out, "{}", self.year),
            b'z' => out.write_str("+0000"),
            b'Z' => out.write_str("UTC"),
            _ => out.write_char('%'),
        }
    }

    fn all(&self, options: &[u8], between: &str, out: &mut String) -> std::fmt::Result {
        for (index, option) in options.iter().enumerate() {
            if index > 0 {
                out.write_str(between)?;
            }
            self.one(*option, out)?;
        }
        Ok(())
    }

    /// The year and the week of ISO 8601: that of its Thursday.
    fn iso_week(&self) -> (i64, i64) {
        let thursday = self.day_of_year + 3 - (self.weekday + 6) % 7;
        let (year, day) = if thursday < 1 {
            (self.year - 1, thursday + days_of(self.year - 1))
        } else if thursday > days_of(self.year) {
            (self.year + 1, thursday - days_of(self.year))
        } else {
            (self.year, thursday)
        };
        (year, (day + 6) / 7)
    }
}

fn days_of(year: i64) -> i64 {
    days_before(year + 1, 1) - days_before(year, 1)
}

/// The days from 1970 to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
