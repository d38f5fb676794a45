//! Parses durations as Go's `time.ParseDuration` does.

use std::time::Duration;

/// A duration with its sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) is_negative: bool,
    pub(crate) magnitude: Duration,
}

/// Reads a Go duration that is not negative, like `720h` or `1h30m`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text).filter(|signed| !signed.is_negative).map(|signed| signed.magnitude)
}

/// The longest duration of Go, about 292 years.
const NANOS_MAX: u128 = i64::MAX as u128;

/// Reads a Go duration: an optional sign, then `0` or numbers, each with an optional fraction and
/// a unit, like `5m0s`, `1.5h` or `500ms`. Source: the documentation of Go's package `time`.
pub(crate) fn parse(text: &str) -> Option<Signed> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = if unsigned == "0" { Duration::ZERO } else { sum(unsigned)? };
    Some(Signed { is_negative: is_negative && !magnitude.is_zero(), magnitude })
}

fn sum(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, 0_u128);
    while total == 0 && rest.len() == text.len() || !rest.is_empty() {
        let (nanos, after) = term(rest)?;
        total = total.checked_add(nanos).filter(|total| *total <= NANOS_MAX)?;
        rest = after;
    }
    Some(Duration::from_nanos(u64::try_from(total).ok()?))
}

/// Reads a number with its unit; returns nanoseconds and the rest of the text.
fn term(text: &str) -> Option<(u128, &str)> {
    let (whole, rest) = split(text, |c| c.is_ascii_digit());
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split(rest, |c| c.is_ascii_digit()),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) = split(rest, |c| c != '.' && !c.is_ascii_digit());
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    };
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = whole.checked_mul(scale)?.checked_add(part(fraction, scale))?;
    Some((nanos, rest))
}

/// Computes a decimal fraction of a unit, rounded down.
fn part(fraction: &str, scale: u128) -> u128 {
    // Digits beyond the nineteenth are less than a nanosecond of any unit.
    let digits = fraction.bytes().take(19).map(|digit| u128::from(digit.saturating_sub(b'0')));
    let (value, power) =
        digits.fold((0_u128, 1_u128), |(value, power), digit| (value * 10 + digit, power * 10));
    value * scale / power
}

fn split(text: &str, is_in: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !is_in(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_as_go_does() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("-0", 0),
            ("+5s", 5_000_000_000),
            ("5m0s", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("500ms", 500_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("10μs", 10_000),
            ("1ns", 1),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] {
            let parsed = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert!(!parsed.is_negative, "{text}");
            assert_eq!(parsed.magnitude, Duration::from_nanos(nanos), "{text}");
        }
        assert_eq!(
            parse("-1.5s"),
            Some(Signed { is_negative: true, magnitude: Duration::from_millis(1500) })
        );
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            "-",
            "+",
            "5",
            "s",
            ".s",
            ".",
            "5 s",
            " 5s",
            "5s ",
            "5d",
            "5sm",
            "--5s",
            "1e3s",
            "9223372036854775808ns",
            "3000000h",
            "99999999999999999999999999999999999999999s",
            "5S",
            "١s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
