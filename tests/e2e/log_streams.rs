//! The audit and error logs, followed as streams.

use kes_harness::{Credential, PROTOCOLS, Proto, Request, Setup, Tls, go};
use serde_json::json;

#[tokio::test]
async fn row_44_the_audit_log_has_each_request_at_once() {
    let (client, unknown) = (Credential::generate(), Credential::generate());
    let setup = Setup::new().minio(&[&client]);
    let server = setup.start().await;
    for (round, protocol) in PROTOCOLS.into_iter().enumerate() {
        let mut reader = server.connect_over(setup.admin(), protocol).await;
        let mut audit = reader.follow("/v1/log/audit").await;
        let key = format!("my-k{round}");
        let known = [
            ("POST", format!("/v1/key/create/{key}"), 200),
            ("POST", format!("/v1/key/create/{key}"), 400),
            ("GET", format!("/v1/key/describe/{key}"), 200),
            ("GET", "/v1/key/describe/my%2Dnone?x=y".to_owned(), 404),
            ("GET", "/v1/key/describe/secret".to_owned(), 403),
            ("POST", format!("/v1/key/generate/{key}"), 400),
            ("DELETE", format!("/v1/key/delete/{key}"), 200),
        ];
        let mut connection = server.connect_over(&client, protocol).await;
        for (method, path, status) in &known {
            let answer = connection.send(Request::new(method, path)).await;
            assert_eq!(answer.status, *status);
            let sent = path.replace("%2D", "-");
            let sent = sent.split('?').next();
            // The event comes while the stream goes on.
            let event = audit.find(|event| event["request"]["path"].as_str() == sent).await;
            assert_eq!(event["request"]["identity"], client.identity());
            assert_eq!(event["request"]["ip"], "127.0.0.1");
            assert_eq!(event["response"]["code"], *status, "{event}");
            assert!(event["response"]["time"].as_u64() > Some(1000), "nanoseconds: {event}");
            let at = event["time"].as_str().expect("a time");
            assert!(at.contains('T') && at.contains('.'), "RFC 3339 with fraction: {at}");
        }
        let mut connection = server.connect_over(&unknown, protocol).await;
        assert_eq!(connection.get("/v1/status").await.status, 403);
        let event = audit.find(|event| event["request"]["path"] == "/v1/status").await;
        assert_eq!(event["request"]["identity"], unknown.identity());
        assert_eq!(event["response"]["code"], 403);
    }
    go::check(&server, setup.admin(), &["audit-log"]).await;
}

#[tokio::test]
async fn row_44_the_error_log_has_faults_and_never_secrets() {
    let setup = Setup::new();
    let secret = kes_harness::b64([0x5e; 32]);
    setup.store("damaged", format!(r#"{{"bytes":"{secret}","algorithm":"none"}}"#));
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut reader = server.connect_over(setup.admin(), protocol).await;
        let mut errors = reader.follow("/v1/log/error").await;
        let mut admin = server.connect_over(setup.admin(), protocol).await;
        admin.get("/v1/key/describe/damaged").await.refused(502, "failed to read key");
        let event = errors.find(|event| event["message"].to_string().contains("damaged")).await;
        assert!(!event.to_string().contains(&secret), "{event}");
    }
    go::check(&server, setup.admin(), &["error-log"]).await;
    let lines = server.stderr().so_far().join("\n");
    assert!(!lines.contains(&secret), "{lines}");
}

#[tokio::test]
async fn row_44_a_17th_stream_of_one_identity_is_refused_and_another_one_gets_it() {
    let reader = Credential::generate();
    let setup = Setup::new().policy("logs", &["/v1/log/*"], &[], &[&reader]);
    let server = setup.start().await;
    let mut connection = server.connect(&reader).await;
    let mut streams = Vec::new();
    for at in 0..16 {
        let path = if at % 2 == 0 { "/v1/log/audit" } else { "/v1/log/error" };
        streams.push(connection.follow(path).await);
    }
    for path in ["/v1/log/audit", "/v1/log/error"] {
        let answer = connection.refusal(Request::new("GET", path)).await;
        assert!((400..500).contains(&answer.status), "a client's fault: {answer:?}");
        answer.error();
    }
    let mut other = server.connect(setup.admin()).await;
    let mut audit = other.follow("/v1/log/audit").await;
    // The refused and the followed are in the log as well.
    assert_eq!(server.connect(&reader).await.get("/v1/status").await.status, 403);
    audit.find(|event| event["request"]["path"] == "/v1/status").await;
}

#[tokio::test]
async fn row_44_with_the_audit_log_on_each_event_is_a_line_of_the_standard_output() {
    let setup = Setup::new().with(json!({ "log": { "audit": "on" } }));
    let server = setup.start().await;
    let mut admin = server.connect_over(setup.admin(), (Proto::H1, Tls::V12)).await;
    admin.call("POST", "/v1/key/create/k").await.ok_empty();
    let line = server.stdout().find(|line| line.contains("/v1/key/create/k")).await;
    let event: serde_json::Value =
        serde_json::from_str(&line.expect("a line")).expect("a line is a JSON object");
    assert_eq!(event["method"], "POST");
    assert!(event["message"].is_string(), "{event}");
    assert_eq!(event["request"]["identity"], setup.admin().identity());
    assert_eq!(event["response"]["code"], 200);
}

#[tokio::test]
async fn an_audit_event_has_the_policy_of_its_caller_also_when_that_refuses_the_request() {
    let (client, unassigned) = (Credential::generate(), Credential::generate());
    let setup = Setup::new()
        .policy("read-status", &["/v1/status"], &[], &[&client])
        .with(json!({ "log": { "audit": "on" } }));
    let server = setup.start().await;
    let mut audit = server.connect(setup.admin()).await;
    let mut audit = audit.follow("/v1/log/audit").await;
    let callers = [(&client, "/v1/status"), (&client, "/v1/metrics"), (&unassigned, "/v1/api")];
    for (at, (caller, path)) in callers.into_iter().enumerate() {
        let status = server.connect(caller).await.get(path).await.status;
        assert_eq!(status, if at == 0 { 200 } else { 403 });
        let is_it = |event: &serde_json::Value| event["request"]["path"] == path;
        let policy = if at < 2 { json!("read-status") } else { serde_json::Value::Null };
        assert_eq!(audit.find(is_it).await["request"]["policy"], policy, "{path}");
        let line = server.stdout().find(|line| line.contains(path)).await.expect("a line");
        let event: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
        assert_eq!(event["request"]["policy"], policy, "{path}");
    }
}
