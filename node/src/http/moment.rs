//! Moments as RFC 3339 spells them, without a calendar of the operating system.

/// The longest spelling that is looked at.
const LEN_MAX: usize = 64;

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

const DAY_MS: i64 = 86_400_000;

/// Unix milliseconds of a date and time with its offset from UTC, from 1970 to 9999. A fraction of a millisecond is
/// rounded up: nothing ends too early.
pub(super) fn parse(text: &str) -> Option<u64> {
    if text.len() > LEN_MAX || !text.is_ascii() {
        return None;
    }
    let (date, time) = text.split_once(['T', 't'])?;
    let (year, month, day) = date_of(date)?;
    let at = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = time.split_at(at);
    let offset = match zone {
        "Z" | "z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let (hours, minutes) = zone[1..].split_once(':')?;
            sign * (digits(hours, 2, 23)? * 60 + digits(minutes, 2, 59)?)
        }
    };
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let mut parts = time.split(':');
    let hour = digits(parts.next()?, 2, 23)?;
    let minute = digits(parts.next()?, 2, 59)?;
    let second = digits(parts.next()?, 2, 59)?;
    if parts.next().is_some() {
        return None;
    }
    let ms = fraction.map_or(Some(0), millis)?;
    let minutes = hour * 60 + minute - offset;
    let unix = days(year, month, day) * DAY_MS + (minutes * 60 + second) * 1000 + ms;
    u64::try_from(unix).ok()
}

/// A moment in UTC, to the millisecond: 24 characters up to the year 9999.
pub(super) fn print(unix_ms: u64) -> String {
    let unix_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let (days, in_day) = (unix_ms / DAY_MS, unix_ms % DAY_MS);
    // A year that begins in March ends with the day that may be missing.
    let from_march = days + EPOCH_DAYS;
    let (era, in_era) = (from_march / ERA_DAYS, from_march % ERA_DAYS);
    let year = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (seconds, ms) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

fn date_of(date: &str) -> Option<(i64, i64, i64)> {
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4, 9999)?;
    let month = digits(parts.next()?, 2, 12)?;
    let day = digits(parts.next()?, 2, 31)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (parts.next().is_none() && month >= 1 && (1..=last).contains(&day)).then_some((year, month, day))
}

/// Days from 1970-01-01.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = if month > 2 { month - 3 } else { month + 9 };
    let (era, in_era) = (year.div_euclid(400), year.rem_euclid(400));
    let in_year = (153 * month + 2) / 5 + day - 1;
    era * ERA_DAYS + in_era * 365 + in_era / 4 - in_era / 100 + in_year - EPOCH_DAYS
}

/// Exactly so many digits, at most a number.
fn digits(text: &str, len: usize, max: i64) -> Option<i64> {
    if text.len() != len || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= max)
}

/// The milliseconds of a fraction of a second, rounded up.
fn millis(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (head, rest) = fraction.split_at(fraction.len().min(3));
    let whole: i64 = format!("{head:0<3}").parse().ok()?;
    Some(whole + i64::from(rest.bytes().any(|byte| byte != b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_read_with_any_offset_and_printed_in_utc() {
        let table = [
            ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500, "2000-02-29T12:00:00.500Z"),
            (
                "2026-07-01T02:00:00+02:00",
                1_782_864_000_000,
                "2026-07-01T00:00:00.000Z",
            ),
            (
                "2026-06-30t23:30:00-00:30",
                1_782_864_000_000,
                "2026-07-01T00:00:00.000Z",
            ),
            (
                "2100-03-01T00:00:00.0001z",
                4_107_542_400_001,
                "2100-03-01T00:00:00.001Z",
            ),
            (
                "9999-12-31T23:59:59.999999Z",
                253_402_300_800_000,
                "10000-01-01T00:00:00.000Z",
            ),
        ];
        for (text, unix_ms, printed) in table {
            assert_eq!(parse(text), Some(unix_ms), "{text}");
            assert_eq!(print(unix_ms), printed);
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "not-a-timestamp",
            "2026-07-01",
            "2026-07-01T00:00:00",
            "2026-07-01T00:00Z",
            "2026-07-01 00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-07-00T00:00:00Z",
            "2026-07-01T24:00:00Z",
            "2026-07-01T00:60:00Z",
            "2026-07-01T00:00:60Z",
            "2026-07-01T00:00:00.Z",
            "2026-07-01T00:00:00.+1Z",
            "2026-07-01T00:00:00+0200",
            "2026-07-01T00:00:00+24:00",
            "2026-07-01T00:00:00Z ",
            " 2026-07-01T00:00:00Z",
            "+026-07-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-07-01T00:00:00ZZ",
            "1767225600",
            "2026-07-01T00:00:00:00Z",
            "2026-07-01-01T00:00:00Z",
            "١٩٧٠-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(unix_ms in 0..253_402_300_800_000_u64) {
            prop_assert_eq!(parse(&print(unix_ms)), Some(unix_ms));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9TZtz:.+-]{0,40}|\\PC{0,30}") {
            let _either = parse(&text);
        }
    }
}
