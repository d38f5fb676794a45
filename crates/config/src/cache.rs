//! Reads the section `cache`: how long decoded keys stay in memory.

use std::time::Duration;

use crate::cursor::Cursor;
use crate::duration;
use crate::error::Fault;
use crate::findings::{Findings, read_fields};
use crate::section::{Setting, section};

/// How long keys stay in the cache in front of the key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheExpiry {
    /// A key is read again after this time; 5 minutes by default. Zero caches nothing.
    pub any: Duration,
    /// A key that was not used for this time is evicted; 30 seconds by default. Zero caches
    /// nothing.
    pub unused: Duration,
    /// While the key store is unreachable, keys stay in the cache for this time; zero is off.
    pub offline: Duration,
}

impl Default for CacheExpiry {
    fn default() -> Self {
        Self {
            any: Duration::from_mins(5),
            unused: Duration::from_secs(30),
            offline: Duration::ZERO,
        }
    }
}

section! {
    /// The cache of decoded keys.
    struct CacheSection<'a> {
        expiry: ExpirySection<'a>,
    }

    /// How long keys stay in the cache; see [`CacheExpiry`].
    struct ExpirySection<'a> {
        any: Setting<'a> = "5m0s",
        unused: Setting<'a> = "30s",
        offline: Setting<'a> = "0s",
    }
}

/// Reads the section `cache`.
pub(crate) fn read(cache: &CacheSection<'_>, findings: &mut Findings) -> Option<CacheExpiry> {
    let expiry = &cache.expiry;
    read_fields!(findings => CacheExpiry {
        any: duration(&expiry.any),
        unused: duration(&expiry.unused),
        offline: offline(&expiry.offline),
    })
}

fn offline(place: &Cursor<'_>) -> Result<Duration, Fault> {
    let offline = duration(place)?;
    // To be dropped once keys stay in the cache while the store is unreachable.
    if offline.is_zero() {
        Ok(offline)
    } else {
        Err(place.fault("'cache.expiry.offline' is not supported by this build"))
    }
}

/// Reads a duration that is not negative; an empty text is zero.
pub(crate) fn duration(place: &Cursor<'_>) -> Result<Duration, Fault> {
    Ok(optional_duration(place)?.unwrap_or_default())
}

/// Reads a duration that is not negative; none when the text is empty.
pub(crate) fn optional_duration(place: &Cursor<'_>) -> Result<Option<Duration>, Fault> {
    let text = place.text()?;
    if text.is_empty() {
        return Ok(None);
    }
    match duration::parse(text.as_str()) {
        Some(signed) if signed.is_negative => Err(text.invalid("is negative; it wants 0s or more")),
        Some(signed) => Ok(Some(signed.magnitude)),
        None => Err(text.invalid(
            "is no duration; it wants numbers with units like `5m0s`, `1h30m` or `500ms`",
        )),
    }
}
