//! Encodes an audit event as JSON, as a line of a log stream or of standard output.

use axum::http::Method;
use kes_types::wire::{AuditEvent, AuditRequest, AuditResponse};
use kes_types::{Identity, Timestamp, escape};
use serde::Serialize;

use crate::log::stream::LogLine;

impl LogLine for AuditEvent<'_> {
    fn line(&self, lost: u64) -> Vec<u8> {
        json(None, self, lost)
    }

    fn gap(lost: u64) -> Vec<u8> {
        json(None, &no_event(), lost)
    }
}

/// Returns the placeholder event of a line that only reports lost events.
fn no_event() -> AuditEvent<'static> {
    let request = AuditRequest {
        ip: "".into(),
        path: "".into(),
        identity: None,
        policy: None,
        proxy_ip: None,
    };
    let response = AuditResponse { code: 0, time: 0 };
    AuditEvent { time: Timestamp::ZERO, request, response, client_gone: false, lost: 0 }
}

/// Returns the line of an event for standard output; `lost` is the number of lost events before it.
pub(super) fn stdout_line(method: &Method, event: &AuditEvent<'_>, lost: u64) -> Vec<u8> {
    let mut line = json(Some(method.as_str()), event, lost);
    line.push(b'\n');
    line
}

/// Returns a line for standard output that only reports lost events.
pub(super) fn stdout_gap(lost: u64) -> Vec<u8> {
    let mut line = json(Some(""), &no_event(), lost);
    line.push(b'\n');
    line
}

/// The initial capacity of a line, in bytes; enough for an event with a path of usual length.
const JSON_LEN: usize = 512;

/// Encodes an event as JSON. On standard output it begins with a message and the method.
///
/// The encoder is written by hand because it runs for every request: it takes 84 ns, and 257 ns as derived
/// by serde (docs/performance.md).
fn json(method: Option<&str>, event: &AuditEvent<'_>, lost: u64) -> Vec<u8> {
    let mut json = Vec::with_capacity(JSON_LEN);
    let AuditRequest { ip, path, identity, policy, proxy_ip } = &event.request;
    let AuditResponse { code, time } = event.response;
    match method {
        Some(method) => {
            plain(&mut json, r#"{"message":"audit","method":"#, method);
            json.push(b',');
        }
        None => json.push(b'{'),
    }
    plain(&mut json, r#""time":"#, event.time.text(&mut [0; Timestamp::TEXT_LEN_MAX]));
    plain(&mut json, r#","request":{"ip":"#, ip);
    add(&mut json, r#","path":"#, path);
    if let Some(identity) = identity {
        plain(&mut json, r#","identity":"#, identity.text(&mut [0; Identity::TEXT_LEN]));
    }
    if let Some(policy) = policy {
        plain(&mut json, r#","policy":"#, policy);
    }
    if let Some(proxy_ip) = proxy_ip {
        plain(&mut json, r#","proxy_ip":"#, proxy_ip);
    }
    add(&mut json, r#"},"response":{"code":"#, &code);
    add(&mut json, r#","time":"#, &time);
    json.push(b'}');
    if event.client_gone {
        json.extend_from_slice(br#","client_gone":true"#);
    }
    if lost > 0 {
        add(&mut json, r#","lost":"#, &lost);
    }
    json.push(b'}');
    json
}

/// Adds a string without escaping. It is used for times, addresses, identities, policy names and methods, which
/// have no characters to escape.
fn plain(json: &mut Vec<u8>, before: &str, text: &str) {
    json.extend_from_slice(before.as_bytes());
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
}

/// Adds a string, with escaping, or a number.
fn add(json: &mut Vec<u8>, before: &str, value: &impl Serialize) {
    json.extend_from_slice(before.as_bytes());
    let _ = escape::write_json(json, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_decoded_to_its_event() {
        let time = Timestamp::from_unix(1_700_000_000, 120_000_000).unwrap();
        for (path, identity, proxy_ip, client_gone, lost) in [
            ("/v1/status", None, None, false, 0),
            ("/v1/key/list/\"\n\u{e4}", Some(Identity::of_public_key(b"a")), None, true, 7),
            ("", Some(Identity::of_public_key(b"b")), Some("192.0.2.1".into()), true, 0),
        ] {
            let request = AuditRequest {
                ip: "::1".into(),
                path: path.into(),
                identity,
                policy: Some("a-b".into()),
                proxy_ip,
            };
            let proxied = request.proxy_ip.is_some();
            let response = AuditResponse { code: 200, time: 12_345 };
            let event = AuditEvent { time, request, response, client_gone, lost };
            let line = event.line(lost);
            assert_eq!(serde_json::from_slice::<AuditEvent<'_>>(&line).unwrap(), event);

            let line = stdout_line(&Method::PUT, &AuditEvent { lost: 0, ..event.clone() }, lost);
            assert!(line.ends_with(b"}\n"));
            let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!((&value["message"], &value["method"]), (&"audit".into(), &"PUT".into()));
            assert_eq!(serde_json::from_slice::<AuditEvent<'_>>(&line).unwrap(), event);
            // An absent value has no field.
            let optional = [(proxied, "proxy_ip"), (event.request.identity.is_some(), "identity")];
            for (is_present, field) in optional {
                assert_eq!(value["request"].get(field).is_some(), is_present, "{field}");
            }
            assert_eq!(value.get("client_gone").is_some(), client_gone);
            assert_eq!(value.get("lost").is_some(), lost > 0);
        }
    }

    #[test]
    fn fields_are_those_that_clients_expect() {
        let event = no_event();
        let request = AuditRequest { policy: Some("a".into()), path: "/b".into(), ..event.request };
        let line = AuditEvent { request, ..event }.line(0);
        let expected = r#"{"time":"0001-01-01T00:00:00Z","request":{"ip":"","path":"/b","policy":"a"},"response":{"code":0,"time":0}}"#;
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn a_path_is_printable_and_is_decoded_unchanged() {
        let path = "/v1/\n\x7f\u{85}\u{9b}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0001}\u{e4}";
        let event = no_event();
        let request = AuditRequest { path: path.into(), ..event.request };
        let event = AuditEvent { request, ..event };
        for json in [event.line(0), stdout_line(&Method::GET, &event, 0)] {
            let text = String::from_utf8(json).unwrap();
            assert!(!text.trim_end_matches('\n').chars().any(escape::is_unprintable), "{text}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["request"]["path"], path);
        }
    }
}
