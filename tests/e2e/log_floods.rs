//! Rate limits of repeated log lines, and audit events when standard output is not read.

use kes_harness::{Connection, Request, Server, Setup, b64};
use serde_json::{Value, json};

/// Sends the same request so many times, as many at once as a connection takes.
async fn flood(connection: &mut Connection, path: &str, times: usize, status: u16) {
    let mut left = times;
    while left > 0 {
        let count = left.min(200);
        let mut pending = Vec::new();
        for _ in 0..count {
            pending.push(connection.start(Request::new("GET", path)).await.expect("a connection"));
        }
        for pending in pending {
            assert_eq!(pending.answer().await.status, status);
        }
        left -= count;
    }
}

/// The number behind `name=`, or `otherwise`.
fn number(line: &str, name: &str, otherwise: u64) -> u64 {
    let rest = line.split(&format!(" {name}=")).nth(1);
    let number = rest.and_then(|rest| rest.split_whitespace().next());
    number.map_or(otherwise, |number| number.parse().expect("a number"))
}

/// How many failed requests these lines of the log stand for: those with the number of a request are
/// about one and perhaps others, those without are a count.
fn failures<'a>(lines: impl Iterator<Item = &'a str>) -> u64 {
    let of_line = |line: &str| number(line, "repeated", 0) + u64::from(line.contains(" request="));
    lines.map(of_line).sum()
}

#[tokio::test]
async fn failed_requests_are_a_few_lines_and_a_count_for_each_kind() {
    let setup = Setup::new();
    let secret = json!({ "bytes": "AAAA", "algorithm": "none" }).to_string();
    for key in ["damaged-1", "damaged-2"] {
        setup.store(key, &secret);
    }
    setup.store("empty", "");
    let server = setup.start().await;
    let mut reader = server.connect(setup.admin()).await;
    let mut errors = reader.follow("/v1/log/error").await;
    let mut admin = server.connect(setup.admin()).await;
    for _ in 0..5 {
        flood(&mut admin, "/v1/key/describe/damaged-1", 500, 502).await;
        flood(&mut admin, "/v1/key/describe/damaged-2", 500, 502).await;
    }
    // One of another kind among them has a line of its own.
    flood(&mut admin, "/v1/key/describe/empty", 1, 502).await;
    let (_, log) = server.stop_and_read().await;
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("ERROR failed to read key")).collect();
    assert!(lines.len() < 100, "{log}");
    assert_eq!(failures(lines.iter().copied()), 5001, "{log}");
    let own: Vec<_> = lines.iter().filter(|line| line.contains(" request=")).collect();
    assert!(own.iter().any(|line| line.contains("key/describe/empty")), "{log}");
    for line in own {
        assert!(line.contains(setup.admin().identity()) && line.contains("status=502"), "{line}");
        assert!(line.contains("method=\"GET\"") && line.contains("cause="), "{line}");
    }
    let counts = || lines.iter().filter(|line| !line.contains(" request="));
    assert!(counts().next().is_some(), "{log}");
    for line in counts() {
        assert!(line.contains("status=502") && line.contains("cause="), "{line}");
    }

    // Who follows the log has seen the same lines, but for those of the end.
    let mut followed = Vec::new();
    while let Some(event) = errors.line().await {
        followed.push(event["message"].as_str().expect("a text").to_owned());
    }
    assert!(!followed.is_empty());
    for (message, line) in followed.iter().zip(&lines) {
        assert!(line.ends_with(message.as_str()), "{message}: {line}");
    }
}

#[tokio::test]
async fn failures_of_very_many_causes_are_counted_together() {
    let setup = Setup::new();
    for key in 0..300 {
        // Each has a length of its own, which is its innermost cause.
        let bytes = b64(vec![1; 33 + key]);
        let stored = json!({ "bytes": bytes, "algorithm": "AES256" }).to_string();
        setup.store(&format!("damaged-{key}"), stored);
    }
    let server = setup.start().await;
    let mut admin = server.connect(setup.admin()).await;
    for _ in 0..10 {
        for key in 0..300 {
            flood(&mut admin, &format!("/v1/key/describe/damaged-{key}"), 1, 502).await;
        }
    }
    let (_, log) = server.stop_and_read().await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(lines.len() < 200, "{log}");
    assert_eq!(failures(lines.iter().copied()), 3000, "{log}");
    assert!(lines.iter().any(|line| line.contains("various failures")), "{log}");
}

/// Events of so many requests do not fit into what the server keeps for a standard output that is
/// not read.
const UNREAD: usize = 8000;

/// Sends requests whose events are long, over several connections at once.
async fn long_events(server: &Server, setup: &Setup) {
    let path = format!("/v1/key/describe/{}", "k".repeat(1000));
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(server.connect(setup.admin()).await);
    }
    let floods = connections.iter_mut().map(|connection| flood(connection, &path, UNREAD / 8, 400));
    futures_util::future::join_all(floods).await;
}

#[tokio::test]
async fn audit_events_that_were_dropped_are_counted_in_their_stream_and_once_a_second_in_the_log() {
    let setup = Setup::new().with(json!({ "log": { "audit": "on" } }));
    let server = setup.start().await;
    server.stdout().hold();
    long_events(&server, &setup).await;
    server.stdout().release();
    let (stdout, log) = server.stop_and_read().await;
    let events: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let lost: u64 = events.iter().filter_map(|event| event["lost"].as_u64()).sum();
    let there = events.iter().filter(|event| event["request"]["path"] != "").count();
    assert!(lost > 0, "no event was dropped");
    assert_eq!(there as u64 + lost, UNREAD as u64);

    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("audit events were lost")).collect();
    assert!(lines.iter().all(|line| line.contains("ERROR")), "{log}");
    let logged: u64 = lines.iter().map(|line| number(line, "lost", 0)).sum();
    assert_eq!(logged, lost, "{log}");
    let mut seconds: Vec<_> = lines.iter().map(|line| &line[..19]).collect();
    seconds.dedup();
    // One a second, and one for what is left at the end.
    assert!(lines.len() <= seconds.len() + 1, "{log}");
}
