//! The section `limits`: what it reads, what it refuses, and that its page is true.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

mod folder;

use std::path::Path;
use std::time::Duration;

use folder::Folder;
use kes_config::{LIMITS, Limit, LimitValue, Limits};

fn parse(limits: &str) -> Result<Limits, String> {
    let text = format!(
        "admin: {{ identity: disabled }}\ntls: {{ key: ./server.key, cert: ./server.cert }}\n\
         keystore: {{ fs: {{ path: ./keys }} }}\nlimits: {{ {limits} }}\n"
    );
    let config = kes_config::parse(&text, Path::new("kes.yaml"), &Folder::enter().environment());
    config.map(|config| config.limits).map_err(|errors| errors.to_string())
}

#[test]
fn without_the_section_every_limit_has_its_default() {
    let limits = parse("").unwrap();
    assert_eq!(limits, Limits::default());
    assert_eq!((limits.connections, limits.connections_per_identity), (10_000, 2500));
    assert_eq!(limits.payload, 256 << 20);
    assert_eq!(limits.write_timeout, Duration::from_secs(15));
}

#[test]
fn parts_follow_the_connections_unless_they_are_given() {
    let limits = parse("connections: 100, handshakes: 40").unwrap();
    assert_eq!(limits.connections_per_identity, 25);
    assert_eq!(limits.connections_without_policy, 25);
    assert_eq!(limits.connections_reserved, 6);
    assert_eq!(limits.handshakes, 40);
    let fewer = limits.with_connections(50);
    assert_eq!((fewer.connections, fewer.connections_per_identity, fewer.handshakes), (50, 12, 20));
}

#[test]
fn sizes_have_units_or_are_bytes_and_times_are_durations() {
    let limits = parse("payload: 1GiB, payload_per_connection: 8388608, body_rate: 3 KiB").unwrap();
    assert_eq!((limits.payload, limits.payload_per_connection), (1 << 30, 8 << 20));
    assert_eq!(limits.body_rate, 3 << 10);
    let limits = parse("idle_timeout: 1h30m, write_timeout: 1500ms").unwrap();
    assert_eq!(limits.idle_timeout, Duration::from_mins(90));
    assert_eq!(limits.write_timeout, Duration::from_millis(1500));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_field_and_what_would_be_right() {
    for (limits, field, wanted) in [
        ("connections: many", "limits.connections", "it wants one like `1000`"),
        ("connections: 3", "limits.connections", "it wants 16 to 1000000"),
        ("connections: 100, handshakes: 101", "limits.handshakes", "it wants 1 to 100"),
        ("handshakes: 0", "limits.handshakes", "it wants 1 to 10000"),
        ("streams: -1", "limits.streams", "no number"),
        ("payload: 5MB", "limits.payload", "KiB, MiB or GiB"),
        ("payload: 1MiB", "limits.payload", "it wants 16MiB to 1024GiB"),
        ("payload: 99999999999GiB", "limits.payload", "is no size"),
        ("payload: 32MiB", "limits.payload_per_connection", "seven eighths"),
        ("write_timeout: 0s", "limits.write_timeout", "it wants 1s to 3600s"),
        ("write_timeout: 15", "limits.write_timeout", "units"),
        ("write_timout: 15s", "limits.write_timout", "write_timeout"),
    ] {
        let error = parse(limits).unwrap_err();
        assert!(error.contains(field) && error.contains(wanted), "{limits}: {error}");
    }
}

/// Formats the default of a limit.
fn default(limit: &Limit) -> String {
    match limit.value {
        LimitValue::Part(of) => format!("`connections` / {of}"),
        LimitValue::Count(default, ..) | LimitValue::Size(default, ..) => limit.shown(default),
        LimitValue::Rate(default, ..) => format!("{} a second", limit.shown(default)),
        LimitValue::Time(default, ..) => limit.shown(default * 1000),
    }
}

/// Formats the limits as the table of the page: name, default, what is limited, what happens beyond it.
fn table() -> String {
    let rows = LIMITS.iter().map(|limit| {
        let Limit { name, what, beyond, .. } = limit;
        format!("| `{name}` | {} | {what} | {beyond} |\n", default(limit))
    });
    let head = "| `limits.` | default | what | beyond it |\n| --- | --- | --- | --- |\n";
    head.to_owned() + &rows.collect::<String>()
}

#[test]
fn the_page_has_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    let (page, table) = (std::fs::read_to_string(page).unwrap(), table());
    assert!(page.contains(&table), "docs/limits.md wants this table:\n{table}");
    assert_eq!(table.lines().count(), LIMITS.len() + 2);
}
