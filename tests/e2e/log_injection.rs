//! Text from clients and key stores is escaped in every log.

use std::collections::BTreeSet;

use kes_harness::proxy::{Fault, Reply};
use kes_harness::vault::FakeVault;
use kes_harness::{PROTOCOLS, Request, Server, Setup, b64};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// A control, format or separator character of each block that has some, and a line as a log may have.
const HOSTILE: &str = "a\nb\r\t\u{1}\u{7}\u{8}\x1b[2J\x7f\u{80}\u{85}\u{9b}\u{9f}\u{a0}\u{ad}\u{61c}\u{70f}\
    \u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\
    \u{202e}\u{2060}\u{2064}\u{2066}\u{2067}\u{2068}\u{2069}\u{206f}\u{feff}\u{fff9}\u{1d173}\u{e0001}\
    \u{e007f}\n2026-01-01T00:00:00.000000Z ERROR forged\\n\u{e9}z";

/// Asserts that a line has no other characters than those that can be seen.
fn printable(line: &str) {
    let is_seen = |char: char| matches!(char, ' '..='~' | 'é' | 'µ');
    assert!(line.chars().all(is_seen), "{line:?}");
}

/// What all sinks have of a server that is ended: the lines of its standard output, parsed.
async fn ended(server: Server) -> (Vec<Value>, String) {
    let (stdout, stderr) = server.stop_and_read().await;
    stdout.lines().for_each(printable);
    for line in stderr.lines() {
        printable(line);
        assert!(line.starts_with("20") && !line.contains("Z ERROR forged "), "{line}");
        assert!(!line.starts_with("2026-01-01T00:00:00.000000Z ERROR"), "{line}");
    }
    let parse = |line| serde_json::from_str(line).expect("every line is JSON");
    (stdout.lines().map(parse).collect(), stderr)
}

#[tokio::test]
async fn what_clients_send_is_printable_in_each_log_and_the_same_for_a_parser() {
    let setup = Setup::new().with(json!({ "log": { "error": "debug", "audit": "on" } }));
    let server = setup.start().await;
    let escaped = utf8_percent_encode(HOSTILE, NON_ALPHANUMERIC).to_string();
    let mut reader = server.connect(setup.admin()).await;
    let mut audit = reader.follow("/v1/log/audit").await;
    let paths = [
        "/v1/key/create/",
        "/v1/key/describe/",
        "/v1/key/delete/",
        "/v1/key/list/",
        "/v1/policy/describe/",
        "/v1/policy/list/",
        "/v1/identity/describe/",
        "/v1/identity/list/",
    ];
    let mut wanted = BTreeSet::new();
    for protocol in PROTOCOLS {
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        for path in paths {
            let method = match path {
                "/v1/key/create/" => "PUT",
                "/v1/key/delete/" => "DELETE",
                _ => "GET",
            };
            let answer = admin.call(method, &format!("{path}{escaped}")).await;
            assert_eq!(answer.status, 400, "{path}: {answer:?}");
            let line = audit.text().await.expect("an event");
            printable(&line);
            let event: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(event["request"]["path"], format!("{path}{HOSTILE}"));
            wanted.insert(format!("{path}{HOSTILE}"));
        }
        let cipher = json!({ "key": b64([1; 32]), "cipher": HOSTILE }).to_string();
        assert_eq!(admin.post("/v1/key/import/k", &cipher).await.status, 406);
        audit.text().await.expect("an event");
    }
    let (events, log) = ended(server).await;
    let path = |event: &Value| event["request"]["path"].as_str().expect("a text").to_owned();
    let paths: BTreeSet<_> = events.iter().map(path).collect();
    assert!(wanted.is_subset(&paths), "{paths:?}");
    // A line feed differs from the two characters that stand for it.
    for words in [r"key name 'a\nb\r\t\u{1}", r"forged\\n", r"\u{202e}", "algorithm 'a"] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[tokio::test]
async fn what_a_key_store_says_is_printable_in_the_log_and_for_those_who_follow_it() {
    let vault = FakeVault::start().await;
    let setup = Setup::new().vault(vault.keystore()).uncached();
    let server = setup.start().await;
    let body = json!({ "errors": [HOSTILE] }).to_string();
    vault.proxy().inject(Fault::Answer(Reply::new(400, "application/json", body)), |asked| {
        asked.path.contains("/kv/hostile")
    });
    let mut reader = server.connect(setup.admin()).await;
    let mut errors = reader.follow("/v1/log/error").await;
    let mut admin = server.connect(setup.admin()).await;
    let request = Request::new("GET", "/v1/key/describe/hostile");
    assert_eq!(admin.send(request).await.status, 502);
    let line = errors.text().await.expect("an event");
    printable(&line);
    let event: Value = serde_json::from_str(&line).expect("JSON");
    let message = event["message"].as_str().expect("a text");
    let (_, log) = ended(server).await;
    assert!(message.contains(r"\u{202e}") && message.contains("hostile"), "{message}");
    assert!(log.contains(message), "{message}: {log}");
}
