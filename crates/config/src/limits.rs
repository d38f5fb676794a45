//! Limits on what clients may hold, and on the time that they may take.
//!
//! [`LIMITS`] is the one table: it reads the section `limits`, has the defaults, and is what
//! `docs/limits.md` is checked against.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cache;
use crate::cursor::{Cursor, Text};
use crate::error::Fault;
use crate::findings::Findings;

/// The limits in force. Sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Of one identity.
    pub connections_per_identity: usize,
    /// Of peers without a policy, after their handshake.
    pub connections_without_policy: usize,
    /// Kept for handshakes and for the admin.
    pub connections_reserved: usize,
    /// Unfinished handshakes at a time.
    pub handshakes: usize,
    /// Streams of one h2 connection.
    pub streams: usize,
    /// The same for a peer without a policy.
    pub streams_without_policy: usize,
    /// Requests of all clients that are not answered.
    pub requests: usize,
    /// Of one identity.
    pub requests_per_identity: usize,
    /// Bytes of large request bodies and answers held for all clients.
    pub payload: usize,
    /// Held for one connection.
    pub payload_per_connection: usize,
    /// Calls to the key store at a time for clients.
    pub store_calls: usize,
    /// Requests of one identity that wait for such a call.
    pub store_queue_per_identity: usize,
    /// Streams of the error log and the audit log.
    pub log_streams: usize,
    /// Of one identity.
    pub log_streams_per_identity: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of an HTTP/1.1 request's head to its last.
    pub head_timeout: Duration,
    /// The lowest rate of a request body, bytes a second.
    pub body_rate: usize,
    /// The longest time in which a client takes no byte of an answer.
    pub write_timeout: Duration,
    /// The lowest rate at which an answer is taken, bytes a second.
    pub write_rate: usize,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// The same for a peer without a policy.
    pub idle_timeout_without_policy: Duration,
    /// How long a graceful stop waits for accepted requests.
    pub drain_timeout: Duration,
}

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
    set: fn(&mut Limits, u64),
}

/// What a limit counts: its default, the smallest and the largest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitValue {
    /// Things.
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

fn whole(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Every limit that can be configured.
pub static LIMITS: &[Limit] = &[
    Limit {
        name: "connections",
        value: LimitValue::Count(10_000, 16, 1_000_000),
        what: "connections at a time; fewer where the limit of open files is lower",
        beyond: "a connection that is idle or has no policy is closed for a new one",
        set: |limits, value| limits.connections = whole(value),
    },
    Limit {
        name: "connections_per_identity",
        value: LimitValue::Part(4),
        what: "connections of one identity",
        beyond: "its longest idle connection is closed; where none is idle, requests on the new \
                 one are answered 429",
        set: |limits, value| limits.connections_per_identity = whole(value),
    },
    Limit {
        name: "connections_without_policy",
        value: LimitValue::Part(4),
        what: "connections of peers without a policy, after their handshake",
        beyond: "the oldest one of the source prefix (/32, /64) that has most is closed",
        set: |limits, value| limits.connections_without_policy = whole(value),
    },
    Limit {
        name: "connections_reserved",
        value: LimitValue::Part(16),
        what: "connections that identities other than the admin cannot take: room for handshakes \
               and the admin",
        beyond: "as `connections_per_identity`, for the identity that has most",
        set: |limits, value| limits.connections_reserved = whole(value),
    },
    Limit {
        name: "handshakes",
        value: LimitValue::Part(4),
        what: "TLS handshakes that are not finished",
        beyond: "of the source prefix (/32, /64) that has most, one is closed that has not begun, \
                 or whose client is silent",
        set: |limits, value| limits.handshakes = whole(value),
    },
    Limit {
        name: "streams",
        value: LimitValue::Count(250, 1, 10_000),
        what: "streams of one h2 connection at a time",
        beyond: "further ones are refused as HTTP/2 says",
        set: |limits, value| limits.streams = whole(value),
    },
    Limit {
        name: "streams_without_policy",
        value: LimitValue::Count(8, 1, 10_000),
        what: "the same for a peer without a policy",
        beyond: "further ones are refused as HTTP/2 says",
        set: |limits, value| limits.streams_without_policy = whole(value),
    },
    Limit {
        name: "requests",
        value: LimitValue::Count(65_536, 16, 10_000_000),
        what: "requests of all identities that are not answered",
        beyond: "429",
        set: |limits, value| limits.requests = whole(value),
    },
    Limit {
        name: "requests_per_identity",
        value: LimitValue::Count(16_384, 16, 10_000_000),
        what: "requests of one identity that are not answered",
        beyond: "429",
        set: |limits, value| limits.requests_per_identity = whole(value),
    },
    Limit {
        name: "payload",
        value: LimitValue::Size(256 * MIB, 16 * MIB, 1 << 40),
        what: "request bodies over 16 KiB and answers over 16 KiB, held for all clients; one \
               identity holds at most seven times what it leaves free",
        beyond: "requests wait, identities in turn, until their deadline",
        set: |limits, value| limits.payload = whole(value),
    },
    Limit {
        name: "payload_per_connection",
        value: LimitValue::Size(32 * MIB, 4 * MIB, 1 << 40),
        what: "the same, held for one connection",
        beyond: "its requests wait until their deadline",
        set: |limits, value| limits.payload_per_connection = whole(value),
    },
    Limit {
        name: "store_calls",
        value: LimitValue::Count(256, 1, 100_000),
        what: "calls to the key store at a time for clients; 20 more are kept for the store's status, \
               for refreshes and for the keys of the configuration",
        beyond: "requests wait, identities in turn, until their deadline",
        set: |limits, value| limits.store_calls = whole(value),
    },
    Limit {
        name: "store_queue_per_identity",
        value: LimitValue::Count(4096, 1, 1_000_000),
        what: "requests of one identity that wait for such a call",
        beyond: "429",
        set: |limits, value| limits.store_queue_per_identity = whole(value),
    },
    Limit {
        name: "log_streams",
        value: LimitValue::Count(64, 1, 10_000),
        what: "streams of the error log and the audit log",
        beyond: "429",
        set: |limits, value| limits.log_streams = whole(value),
    },
    Limit {
        name: "log_streams_per_identity",
        value: LimitValue::Count(16, 1, 10_000),
        what: "those of one identity",
        beyond: "429",
        set: |limits, value| limits.log_streams_per_identity = whole(value),
    },
    Limit {
        name: "handshake_timeout",
        value: LimitValue::Time(10, 1, 300),
        what: "from accept to the end of the TLS handshake",
        beyond: "the connection is closed",
        set: |limits, value| limits.handshake_timeout = Duration::from_millis(value),
    },
    Limit {
        name: "head_timeout",
        value: LimitValue::Time(5, 1, 300),
        what: "from the first byte of an HTTP/1.1 request's head to its last",
        beyond: "the connection is closed",
        set: |limits, value| limits.head_timeout = Duration::from_millis(value),
    },
    Limit {
        name: "body_rate",
        value: LimitValue::Rate(16 * KIB, 1, GIB),
        what: "the lowest rate of a request body, after 5 seconds",
        beyond: "408",
        set: |limits, value| limits.body_rate = whole(value),
    },
    Limit {
        name: "write_timeout",
        value: LimitValue::Time(15, 1, 3600),
        what: "the longest time in which a client takes no byte of an answer",
        beyond: "the stream is reset, then the connection is closed",
        set: |limits, value| limits.write_timeout = Duration::from_millis(value),
    },
    Limit {
        name: "write_rate",
        value: LimitValue::Rate(16 * KIB, 1, GIB),
        what: "the lowest rate at which an answer is taken, after `write_timeout`",
        beyond: "the stream is reset, then the connection is closed",
        set: |limits, value| limits.write_rate = whole(value),
    },
    Limit {
        name: "idle_timeout",
        value: LimitValue::Time(90, 1, 86_400),
        what: "how long a connection may be without a request",
        beyond: "the connection is closed",
        set: |limits, value| limits.idle_timeout = Duration::from_millis(value),
    },
    Limit {
        name: "idle_timeout_without_policy",
        value: LimitValue::Time(5, 1, 86_400),
        what: "the same for a peer without a policy",
        beyond: "the connection is closed",
        set: |limits, value| limits.idle_timeout_without_policy = Duration::from_millis(value),
    },
    Limit {
        name: "drain_timeout",
        value: LimitValue::Time(30, 1, 3600),
        what: "how long a stop waits for accepted requests",
        beyond: "they are cut off",
        set: |limits, value| limits.drain_timeout = Duration::from_millis(value),
    },
];

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
    /// Every value zero, until the table has set it.
    fn unset() -> Self {
        Self {
            connections: 0,
            connections_per_identity: 0,
            connections_without_policy: 0,
            connections_reserved: 0,
            handshakes: 0,
            streams: 0,
            streams_without_policy: 0,
            requests: 0,
            requests_per_identity: 0,
            payload: 0,
            payload_per_connection: 0,
            store_calls: 0,
            store_queue_per_identity: 0,
            log_streams: 0,
            log_streams_per_identity: 0,
            handshake_timeout: Duration::ZERO,
            head_timeout: Duration::ZERO,
            body_rate: 0,
            write_timeout: Duration::ZERO,
            write_rate: 0,
            idle_timeout: Duration::ZERO,
            idle_timeout_without_policy: Duration::ZERO,
            drain_timeout: Duration::ZERO,
        }
    }

    /// The same for fewer connections: parts of them get fewer as well.
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

    /// Reads a value: things, bytes, or milliseconds.
    fn parse(&self, text: &Text<'_>, place: &Cursor<'_>, connections: u64) -> Result<u64, Fault> {
        let (value, bounds) = match self.value {
            LimitValue::Count(_, min, max) => (count(text)?, (min, max)),
            LimitValue::Part(_) => (count(text)?, (1, connections)),
            LimitValue::Size(_, min, max) | LimitValue::Rate(_, min, max) => {
                (size(text)?, (min, max))
            }
            LimitValue::Time(_, min, max) => {
                let time = cache::duration(place)?.unwrap_or_default();
                (u64::try_from(time.as_millis()).unwrap_or(u64::MAX), (min * 1000, max * 1000))
            }
        };
        let (min, max) = bounds;
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        let (min, max) = (self.shown(min), self.shown(max));
        Err(text.fault(format!("{} is out of bounds; it wants {min} to {max}", text.shown())))
    }

    /// A value as the configuration has it; times are milliseconds.
    fn shown(&self, value: u64) -> String {
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

    /// The default as text.
    fn default_shown(&self) -> String {
        match self.value {
            LimitValue::Part(of) => format!("`connections` / {of}"),
            LimitValue::Count(default, ..) | LimitValue::Size(default, ..) => self.shown(default),
            LimitValue::Rate(default, ..) => format!("{} a second", self.shown(default)),
            LimitValue::Time(default, ..) => self.shown(default * 1000),
        }
    }
}

/// The table of limits as Markdown: name, default, what is limited, what happens beyond it.
pub fn limits_table() -> String {
    let mut table =
        String::from("| `limits.` | default | what | beyond it |\n| --- | --- | --- | --- |\n");
    for limit in LIMITS {
        let Limit { name, what, beyond, .. } = limit;
        let _ = writeln!(table, "| `{name}` | {} | {what} | {beyond} |", limit.default_shown());
    }
    table
}

/// Reads the section `limits`.
pub(crate) fn read(section: &Cursor<'_>, findings: &mut Findings) -> Option<Limits> {
    let mut limits = Limits::unset();
    let mut is_whole = true;
    for limit in LIMITS {
        limit.set_default(&mut limits);
        let place = section.field(limit.name);
        let value = place.text().and_then(|text| {
            let connections = limits.connections as u64;
            let is_set = !text.is_empty();
            is_set.then(|| limit.parse(&text, &place, connections)).transpose()
        });
        match findings.keep(value) {
            Some(Some(value)) => (limit.set)(&mut limits, value),
            Some(None) => {}
            None => is_whole = false,
        }
    }
    if is_whole && limits.payload_per_connection > limits.payload / 8 * 7 {
        let place = section.field("payload_per_connection");
        findings.fault(place.fault(
            "`payload_per_connection` is more than seven eighths of `payload`, which one client \
             may hold",
        ));
    }
    is_whole.then_some(limits)
}

fn count(text: &Text<'_>) -> Result<u64, Fault> {
    text.as_str()
        .parse()
        .map_err(|_| text.fault(format!("{} is no number; it wants one like `1000`", text.shown())))
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
        text.fault(format!(
            "{} is no size; it wants bytes, or a number with KiB, MiB or GiB like `256MiB`",
            text.shown()
        ))
    })
}
