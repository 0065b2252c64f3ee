//! How people spell times and sizes: "1500ms", "20s", "32MiB".

use std::time::Duration;

/// 2^10 bytes.
pub(super) const KIB: u64 = 1 << 10;
/// 2^20 bytes.
pub(super) const MIB: u64 = 1 << 20;
/// 2^30 bytes.
pub(super) const GIB: u64 = 1 << 30;

/// Largest first, so that printing takes the first that divides.
const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];

/// Reads a size with its unit.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Prints a size so that `parse_size` reads it.
pub(super) fn show_size(bytes: u64) -> String {
    let fits = |factor: u64| bytes != 0 && bytes.is_multiple_of(factor);
    let (unit, factor) = SIZES.iter().find(|(_, factor)| fits(*factor)).unwrap_or(&("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// Largest first, in nanoseconds.
const TIMES: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a time with its unit; also sums such as "1m 30s".
pub(super) fn parse_time(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok()
}

/// Prints a time in one unit, so that `parse_time` reads it.
pub(super) fn show_time(time: Duration) -> String {
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let (unit, factor) = TIMES
        .iter()
        .find(|(_, factor)| nanos.is_multiple_of(*factor))
        .unwrap_or(&("ns", 1));
    format!("{}{unit}", nanos / factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_a_binary_unit() {
        assert_eq!(parse_size("32MiB"), Some(32 * MIB));
        assert_eq!(parse_size(" 4 KiB "), Some(4096));
        assert_eq!(parse_size("0B"), Some(0));
        for text in [
            "32",
            "32MB",
            "32mib",
            "MiB",
            "-1B",
            "1.5MiB",
            "1MiB 1KiB",
            "99999999999TiB",
            "",
        ] {
            assert_eq!(parse_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_time("1m 30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_time("0s"), Some(Duration::ZERO));
        for text in ["20", "-1s", "soon", ""] {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_largest_unit_without_a_fraction_is_printed() {
        let shown = [0, 1, 1536, 32 * MIB, GIB, 1 << 40].map(show_size);
        assert_eq!(shown, ["0B", "1B", "1536B", "32MiB", "1GiB", "1TiB"]);
        let shown = [0, 500, 1500, 20_000, 90_000, 120_000, 3_600_000].map(|ms| show_time(Duration::from_millis(ms)));
        assert_eq!(shown, ["0s", "500ms", "1500ms", "20s", "90s", "2m", "1h"]);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes: u64, nanos in 0..u64::MAX) {
            prop_assert_eq!(parse_size(&show_size(bytes)), Some(bytes));
            let time = Duration::from_nanos(nanos);
            prop_assert_eq!(parse_time(&show_time(time)), Some(time));
        }
    }
}
