//! Conversions, medians and formatting of numbers.

use std::time::Duration;

/// Converts a count to a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Converts a duration to microseconds.
pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Converts a duration to milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Computes the median.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Formats a value with its unit and about three significant digits.
pub(crate) fn text(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let space = if unit.is_empty() { "" } else { " " };
    format!("{value:.digits$}{space}{unit}")
}
