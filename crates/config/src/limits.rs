//! Reads the section `limits`: the resources and the time that clients can use.
//!
//! [`LIMITS`] is the one table: it has the fields of the section and their defaults, and
//! `docs/limits.md` is checked against it.

use std::time::Duration;

use crate::cache;
use crate::cursor::{Cursor, Text};
use crate::error::Fault;
use crate::findings::Findings;
use crate::section::{Setting, section};

/// A row of the table of limits.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Its name in the section `limits`.
    pub name: &'static str,
    /// What it counts, its default and its bounds.
    pub value: LimitValue,
    /// What is limited.
    pub what: &'static str,
    /// What happens beyond it.
    pub beyond: &'static str,
    place: for<'s, 'a> fn(&'s LimitsSection<'a>) -> &'s Cursor<'a>,
    set: fn(&mut Limits, u64),
}

/// What a limit counts: its default, the smallest and the largest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitValue {
    /// A number.
    Count(u64, u64, u64),
    /// Connections, by default `connections` divided by this.
    Part(u64),
    /// Bytes.
    Size(u64, u64, u64),
    /// Bytes a second.
    Rate(u64, u64, u64),
    /// Seconds.
    Time(u64, u64, u64),
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A type of the values of limits.
trait Amount {
    /// Converts a number, bytes, or milliseconds.
    fn of(value: u64) -> Self;
}

impl Amount for usize {
    fn of(value: u64) -> Self {
        Self::try_from(value).unwrap_or(Self::MAX)
    }
}

impl Amount for Duration {
    fn of(value: u64) -> Self {
        Self::from_millis(value)
    }
}

/// Declares the limits: `name: type = kind(default, smallest, largest), "what is limited",
/// "what happens beyond it"`.
macro_rules! limits {
    ($($name:ident: $Type:ty = $Kind:ident($($bound:expr),+), $what:literal, $beyond:literal;)*) => {
        /// The limits in force. Sizes are bytes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Limits {
            $(#[doc = $what] pub $name: $Type,)*
        }

        impl Limits {
            /// Returns limits that are all zero, until the table has set them.
            fn unset() -> Self {
                Self { $($name: Amount::of(0),)* }
            }
        }

        /// Every limit that can be configured.
        pub static LIMITS: &[Limit] = &[$(Limit {
            name: stringify!($name),
            value: LimitValue::$Kind($($bound),+),
            what: $what,
            beyond: $beyond,
            place: |section| &section.$name,
            set: |limits, value| limits.$name = Amount::of(value),
        },)*];

        section! {
            /// The limits, as texts.
            struct LimitsSection<'a> {
                $(#[doc = $what] $name: Setting<'a>,)*
            }
        }
    };
}

limits! {
    connections: usize = Count(10_000, 16, 1_000_000),
        "connections at a time; fewer where the limit of open files is lower",
        "a connection that is idle or has no policy is closed for a new one";
    connections_per_identity: usize = Part(4),
        "connections of one identity",
        "its longest idle connection is closed; where none is idle, requests on the new \
         one are answered 429";
    connections_without_policy: usize = Part(4),
        "connections of peers without a policy, after their handshake",
        "the oldest one of the source prefix (/32, /64) that has most is closed";
    connections_reserved: usize = Part(16),
        "connections that identities other than the admin cannot take: room for handshakes \
         and the admin",
        "as `connections_per_identity`, for the identity that has most";
    handshakes: usize = Part(4),
        "TLS handshakes that are not finished",
        "of the source prefix (/32, /64) that has most, one is closed that has not begun, \
         or whose client is silent";
    streams: usize = Count(250, 1, 10_000),
        "streams of one h2 connection at a time",
        "further ones are refused as HTTP/2 says";
    streams_without_policy: usize = Count(8, 1, 10_000),
        "the same for a peer without a policy",
        "further ones are refused as HTTP/2 says";
    requests: usize = Count(65_536, 16, 10_000_000),
        "requests of all identities that are not answered",
        "429";
    requests_per_identity: usize = Count(16_384, 16, 10_000_000),
        "requests of one identity that are not answered",
        "429";
    payload: usize = Size(256 * MIB, 16 * MIB, 1 << 40),
        "request bodies over 16 KiB and answers over 16 KiB, held for all clients; one \
         identity holds at most seven times what it leaves free",
        "requests wait, identities in turn, until their deadline";
    payload_per_connection: usize = Size(32 * MIB, 4 * MIB, 1 << 40),
        "the same, held for one connection",
        "its requests wait until their deadline";
    store_calls: usize = Count(256, 1, 100_000),
        "calls to the key store at a time for clients; 20 more are kept for the store's status, \
         for refreshes and for the keys of the configuration",
        "requests wait, identities in turn, until their deadline";
    store_queue_per_identity: usize = Count(4096, 1, 1_000_000),
        "requests of one identity that wait for such a call",
        "429";
    log_streams: usize = Count(64, 1, 10_000),
        "streams of the error log and the audit log",
        "429";
    log_streams_per_identity: usize = Count(16, 1, 10_000),
        "those of one identity",
        "429";
    handshake_timeout: Duration = Time(10, 1, 300),
        "from accept to the end of the TLS handshake",
        "the connection is closed";
    head_timeout: Duration = Time(5, 1, 300),
        "from the first byte of an HTTP/1.1 request's head to its last",
        "the connection is closed";
    body_rate: usize = Rate(16 * KIB, 1, GIB),
        "the lowest rate of a request body, after 5 seconds",
        "408";
    write_timeout: Duration = Time(15, 1, 3600),
        "the longest time in which a client takes no byte of an answer",
        "the stream is reset, then the connection is closed";
    write_rate: usize = Rate(16 * KIB, 1, GIB),
        "the lowest rate at which an answer is taken, after `write_timeout`",
        "the stream is reset, then the connection is closed";
    idle_timeout: Duration = Time(90, 1, 86_400),
        "how long a connection may be without a request",
        "the connection is closed";
    idle_timeout_without_policy: Duration = Time(5, 1, 86_400),
        "the same for a peer without a policy",
        "the connection is closed";
    drain_timeout: Duration = Time(30, 1, 3600),
        "how long a stop waits for accepted requests",
        "they are cut off";
}

impl Default for Limits {
    fn default() -> Self {
        let mut limits = Self::unset();
        for limit in LIMITS {
            limit.set_default(&mut limits);
        }
        limits
    }
}

impl Limits {
    /// Returns the limits for fewer connections: limits that are parts of them are scaled.
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        let scaled = |part: usize| (part * connections / self.connections.max(1)).max(1);
        Self {
            connections,
            connections_per_identity: scaled(self.connections_per_identity),
            connections_without_policy: scaled(self.connections_without_policy),
            connections_reserved: scaled(self.connections_reserved),
            handshakes: scaled(self.handshakes),
            ..self
        }
    }
}

impl Limit {
    fn set_default(&self, limits: &mut Limits) {
        let value = match self.value {
            LimitValue::Part(of) => (limits.connections as u64 / of).max(1),
            LimitValue::Count(default, ..)
            | LimitValue::Size(default, ..)
            | LimitValue::Rate(default, ..) => default,
            LimitValue::Time(seconds, ..) => seconds * 1000,
        };
        (self.set)(limits, value);
    }

    /// Reads a value: a number, bytes, or milliseconds.
    fn parse(&self, text: &Text<'_>, place: &Cursor<'_>, connections: u64) -> Result<u64, Fault> {
        let (value, bounds) = match self.value {
            LimitValue::Count(_, min, max) => (count(text)?, (min, max)),
            LimitValue::Part(_) => (count(text)?, (1, connections)),
            LimitValue::Size(_, min, max) | LimitValue::Rate(_, min, max) => {
                (size(text)?, (min, max))
            }
            LimitValue::Time(_, min, max) => {
                let time = cache::duration(place)?;
                (u64::try_from(time.as_millis()).unwrap_or(u64::MAX), (min * 1000, max * 1000))
            }
        };
        let (min, max) = bounds;
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        let (min, max) = (self.shown(min), self.shown(max));
        Err(text.invalid(format!("is out of bounds; it wants {min} to {max}")))
    }

    /// Formats a value as the configuration has it; times are milliseconds.
    pub fn shown(&self, value: u64) -> String {
        match self.value {
            LimitValue::Count(..) | LimitValue::Part(_) => value.to_string(),
            LimitValue::Time(..) => format!("{}s", value / 1000),
            LimitValue::Size(..) | LimitValue::Rate(..) => {
                let units = [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
                let unit =
                    units.iter().find(|(unit, _)| value >= *unit && value.is_multiple_of(*unit));
                unit.map_or_else(
                    || value.to_string(),
                    |(unit, name)| format!("{}{name}", value / unit),
                )
            }
        }
    }
}

/// Reads the section `limits`.
pub(crate) fn read(section: &LimitsSection<'_>, findings: &mut Findings) -> Option<Limits> {
    let mut limits = Limits::unset();
    let mut is_whole = true;
    for limit in LIMITS {
        limit.set_default(&mut limits);
        let place = (limit.place)(section);
        let value = place.text().and_then(|text| {
            let connections = limits.connections as u64;
            let is_set = !text.is_empty();
            is_set.then(|| limit.parse(&text, place, connections)).transpose()
        });
        match findings.keep(value) {
            Some(Some(value)) => (limit.set)(&mut limits, value),
            Some(None) => {}
            None => is_whole = false,
        }
    }
    if is_whole && limits.payload_per_connection > limits.payload / 8 * 7 {
        findings.fault(section.payload_per_connection.fault(
            "`payload_per_connection` is more than seven eighths of `payload`, which one client \
             may hold",
        ));
    }
    is_whole.then_some(limits)
}

fn count(text: &Text<'_>) -> Result<u64, Fault> {
    text.as_str().parse().map_err(|_| text.invalid("is no number; it wants one like `1000`"))
}

/// Reads a number of bytes, with a unit or without.
fn size(text: &Text<'_>) -> Result<u64, Fault> {
    let units = [("KiB", KIB), ("MiB", MIB), ("GiB", GIB), ("B", 1)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.as_str().strip_suffix(name)?.trim_end(), *unit)))
        .unwrap_or((text.as_str(), 1));
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| {
        text.invalid("is no size; it wants bytes, or a number with KiB, MiB or GiB like `256MiB`")
    })
}
