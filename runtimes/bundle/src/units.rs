//! Sizes and durations as people write them: `64MiB`, `30s`.

use std::time::Duration;

/// Reads a size in bytes: a whole number and a unit, `64MiB`, `64Mi`, `64M`, `64m`, `1G`, `4096`.
/// Every unit is a power of 1024 (as in docker), whatever its spelling.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size such as \"64MiB\", \"512K\" or \"1G\"");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "ki" | "kb" | "kib" => 10,
        "m" | "mi" | "mb" | "mib" => 20,
        "g" | "gi" | "gb" | "gib" => 30,
        "t" | "ti" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large a size"))
}

/// Reads a duration: a whole number and a unit, `30s`, `500ms`, `2m`, `1h`, `250us`, `10ns`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as \"30s\", \"500ms\" or \"2m\"");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let nanos: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(wrong()),
    };
    match number.checked_mul(nanos) {
        Some(nanos) => Ok(Duration::from_nanos(nanos)),
        None => Err(format!("{text:?} is too long a duration")),
    }
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_every_spelling() {
        for text in ["64MiB", "64Mi", "64M", "64m", "64mb", "64 MiB", "65536K", "67108864", "67108864B"] {
            assert_eq!(parse_size(text), Ok(64 << 20), "{text}");
        }
        assert_eq!(parse_size("1G"), Ok(1 << 30));
        assert_eq!(parse_size("0"), Ok(0));
        for text in ["", "M", "64X", "-1", "1.5G", "64MiBs", "٣M"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size("99999999999T").unwrap_err().contains("too large"));
    }

    #[test]
    fn durations_in_every_unit() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_duration("7ns"), Ok(Duration::from_nanos(7)));
        for text in ["", "30", "s", "1.5s", "-1s", "30 seconds"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("9999999999h").unwrap_err().contains("too long"));
    }
}
