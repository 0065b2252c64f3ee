//! Moments as the protocol writes them (RFC 3339).

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A moment in Unix milliseconds, as in `2026-07-01T12:00:00.000Z`.
pub(super) fn in_words(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / DAY_MS, unix_ms % DAY_MS);
    // Counted from the first of March of the year 0, so that a leap day is the last of its year; 400 years are an era.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (era * 400 + year, month + 3)
    } else {
        (era * 400 + year + 1, month - 9)
    };
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let ms = ms % 1000;
    format!("{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn moments_are_written_as_the_calendar_has_them() {
        for (ms, words) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (1_772_323_199_250, "2026-02-28T23:59:59.250Z"),
            (1_772_323_200_000, "2026-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(in_words(ms), words);
        }
    }
}
