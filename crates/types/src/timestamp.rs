//! Timestamps as JSON bodies and stored keys write them.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time in nanoseconds, from the year 1 to the year 9999; its text is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// 0001-01-01T00:00:00Z in seconds of the Unix epoch.
const SECONDS_MIN: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z in seconds of the Unix epoch.
const SECONDS_MAX: i64 = 253_402_300_799;

impl Timestamp {
    /// The year 1, which is reported for a stored key without a creation time.
    pub const ZERO: Self = Self { seconds: SECONDS_MIN, nanos: 0 };

    /// Makes a timestamp of seconds since the Unix epoch and nanoseconds within the second.
    pub fn from_unix(seconds: i64, nanos: u32) -> Result<Self, InvalidTimestamp> {
        if (SECONDS_MIN..=SECONDS_MAX).contains(&seconds) && nanos < 1_000_000_000 {
            Ok(Self { seconds, nanos })
        } else {
            Err(InvalidTimestamp)
        }
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub fn subsec_nanos(self) -> u32 {
        self.nanos
    }

    /// The length of the longest text: `9999-12-31T23:59:59.999999999Z`.
    pub const TEXT_LEN_MAX: usize = 30;

    /// Writes RFC 3339 without trailing zeros into `buffer` and returns it; allocates nothing.
    pub fn text(self, buffer: &mut [u8; Self::TEXT_LEN_MAX]) -> &str {
        // Neither call fails: every timestamp is in range, and its text fits.
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        let time = OffsetDateTime::from_unix_timestamp_nanos(nanos);
        let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut rest = buffer.as_mut_slice();
        let _ = time.format_into(&mut rest, &Rfc3339);
        let len = Self::TEXT_LEN_MAX - rest.len();
        std::str::from_utf8(&buffer[..len]).unwrap_or_default()
    }
}

impl From<SystemTime> for Timestamp {
    /// A time outside of the years 1 to 9999 becomes [`Timestamp::ZERO`].
    fn from(time: SystemTime) -> Self {
        let time = OffsetDateTime::from(time);
        Self::from_unix(time.unix_timestamp(), time.nanosecond()).unwrap_or(Self::ZERO)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        Self::from_unix(time.unix_timestamp(), time.nanosecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; Self::TEXT_LEN_MAX]))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; Self::TEXT_LEN_MAX]))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The error for a text or number that is not a time between the years 1 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time between the years 1 and 9999")]
pub struct InvalidTimestamp;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_rfc_3339_without_trailing_zeros() {
        for text in [
            "0001-01-01T00:00:00Z",
            "2023-01-02T03:04:05.678901234Z",
            "2026-11-23T22:22:25.09Z",
            "9999-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        }
        assert_eq!(Timestamp::ZERO.to_string(), "0001-01-01T00:00:00Z");
        let offset: Timestamp = "2023-01-02T05:04:05+02:00".parse().unwrap();
        assert_eq!(offset.to_string(), "2023-01-02T03:04:05Z");
    }

    #[test]
    fn times_out_of_range_are_refused() {
        assert!(Timestamp::from_unix(SECONDS_MIN - 1, 0).is_err());
        assert!(Timestamp::from_unix(SECONDS_MAX + 1, 0).is_err());
        assert!(Timestamp::from_unix(0, 1_000_000_000).is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
