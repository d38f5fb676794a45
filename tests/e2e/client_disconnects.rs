//! Audit events and metrics of requests whose clients disconnected.

use kes_harness::proxy::{Fault, Gate, Reply};
use kes_harness::vault::FakeVault;
use kes_harness::{Connection, Payload, Pending, Proto, Request, Server, Setup, Tls, b64};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

const READ: &str = "/v1/key/describe/read";
const CHANGE: &str = "/v1/key/delete/changed";
const FAILED_CHANGE: &str = "/v1/key/delete/failed";

/// A server whose key store holds on to some requests until the gate is opened.
struct Fixture {
    vault: FakeVault,
    gate: Gate,
    setup: Setup,
    server: Server,
}

impl Fixture {
    async fn new() -> Self {
        let (vault, gate) = (FakeVault::start().await, Gate::new());
        let no = Reply::new(400, "application/json", r#"{"errors":["no"]}"#);
        vault.proxy().inject(Fault::Held(gate.clone()), |asked| {
            let removal = asked.method == "DELETE" && asked.path.ends_with("/changed");
            removal || asked.path.ends_with("/read") || asked.path.ends_with("/wait")
        });
        vault.proxy().inject(Fault::Answer(no), |asked| {
            asked.method == "DELETE" && asked.path.ends_with("/failed")
        });
        let setup = Setup::new()
            .vault(vault.keystore())
            .uncached()
            .with(json!({ "log": { "audit": "on" } }));
        let server = setup.start().await;
        Self { vault, gate, setup, server }
    }

    async fn connect(&self, proto: Proto) -> Connection {
        self.server.connect_over(self.setup.admin(), (proto, Tls::V13)).await
    }

    /// Sends a request and waits until the key store has it.
    async fn held(&self, connection: &mut Connection, method: &str, path: &str) -> Pending {
        let name = path.rsplit('/').next().expect("a name").to_owned();
        let pending = connection.start(Request::new(method, path)).await.expect("a connection");
        let wanted = if method == "DELETE" { "DELETE" } else { "GET" };
        self.vault
            .proxy()
            .seen(move |asked| asked.method == wanted && asked.path.ends_with(&name))
            .await;
        pending
    }
}

/// Waits until the server has no more than so many files open: it has closed the connections that
/// its clients have closed.
async fn noticed(server: &Server, files: usize) {
    while server.figures().files > files {
        tokio::task::yield_now().await;
    }
}

fn of_path(path: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["request"]["path"] == path
}

/// The event of a path on standard output.
fn event(stdout: &str, path: &str) -> Value {
    let parse = |line| serde_json::from_str::<Value>(line).expect("every line is JSON");
    let mut events = stdout.lines().map(parse).filter(|event| event["request"]["path"] == path);
    let event = events.next().unwrap_or_else(|| panic!("{path}: {stdout}"));
    assert!(events.next().is_none(), "{stdout}");
    event
}

#[tokio::test]
async fn a_change_is_recorded_with_its_outcome_and_a_read_as_hung_up() {
    for proto in [Proto::H2, Proto::H1] {
        let fixture = Fixture::new().await;
        let mut reader = fixture.connect(Proto::H2).await;
        let mut audit = reader.follow("/v1/log/audit").await;
        let mut changing = fixture.connect(proto).await;
        let change = fixture.held(&mut changing, "DELETE", CHANGE).await;
        let mut reading = fixture.connect(proto).await;
        let read = fixture.held(&mut reading, "GET", READ).await;
        let files = fixture.server.figures().files;
        drop((change, changing, read, reading));
        let read = audit.find(of_path(READ)).await;
        assert_eq!(read["response"]["code"], 499, "{read}");
        assert_eq!(read.get("client_gone"), None, "{read}");
        noticed(&fixture.server, files - 2).await;
        fixture.gate.open();
        let change = audit.find(of_path(CHANGE)).await;
        assert_eq!(change["response"]["code"], 200, "{change}");
        assert_eq!(change["client_gone"], true, "{change}");
        assert!(change["response"]["time"].as_u64() > Some(0), "{change}");

        let metrics = fixture.connect(proto).await.get("/v1/metrics").await;
        let metrics = String::from_utf8(metrics.body.to_vec()).expect("text");
        for line in [
            r#"kes_http_request_success{code="200"} 1"#,
            r#"kes_http_request_error{code="499"} 1"#,
            "kes_http_request_active 0",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
        }
        let (stdout, _) = fixture.server.stop_and_read().await;
        assert_eq!(event(&stdout, CHANGE)["client_gone"], true);
        assert_eq!(event(&stdout, CHANGE)["response"]["code"], 200);
        assert_eq!(event(&stdout, READ)["response"]["code"], 499);
    }
}

/// Sends an import that lacks nothing but the end of its body, and hangs up when the server has it.
async fn half_import(server: &Server, setup: &Setup, proto: Proto) {
    let body = json!({ "key": b64([1; 32]), "cipher": "AES256" }).to_string();
    if proto == Proto::H2 {
        let mut importing = server.connect(setup.admin()).await;
        let (feed, payload) = Payload::fed();
        let request = Request::new("PUT", "/v1/key/import/half").payload(payload);
        let pending = importing.start(request).await.expect("a connection");
        feed.send(body);
        // Answered later on the same connection: the server has the request above.
        importing.get("/version").await.ok();
        drop((pending, importing));
    } else {
        let dialer = server.dial().show(setup.admin()).over((proto, Tls::V13));
        let mut stream = BufReader::new(dialer.tls().await.expect("TLS"));
        let head = format!(
            "PUT /v1/key/import/half HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
            body.len() + 1
        );
        stream.write_all(head.as_bytes()).await.expect("a head is sent");
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a line");
        assert_eq!(line, "HTTP/1.1 100 Continue\r\n", "the server has the request");
        stream.write_all(body.as_bytes()).await.expect("most of a body is sent");
    }
}

#[tokio::test]
async fn an_import_whose_caller_hung_up_within_its_body_is_refused_and_recorded() {
    for proto in [Proto::H2, Proto::H1] {
        let setup = Setup::new();
        let server = setup.start().await;
        let mut reader = server.connect(setup.admin()).await;
        let mut audit = reader.follow("/v1/log/audit").await;
        half_import(&server, &setup, proto).await;
        let event = audit.find(of_path("/v1/key/import/half")).await;
        assert_eq!(event["response"]["code"], 400, "{proto:?}: {event}");
        // Who closes its sending end over HTTP/1.1 may still read the answer.
        assert!(proto == Proto::H1 || event["client_gone"] == true, "{event}");
        let mut admin = server.connect(setup.admin()).await;
        assert_eq!(admin.get("/v1/key/describe/half").await.status, 404, "{proto:?}");
    }
}

#[tokio::test]
async fn who_waits_for_the_outcome_of_a_change_is_not_gone() {
    let fixture = Fixture::new().await;
    let mut admin = fixture.connect(Proto::H2).await;
    let change = fixture.held(&mut admin, "DELETE", CHANGE).await;
    fixture.gate.open();
    change.answer().await.ok_empty();
    assert_eq!(admin.call("DELETE", FAILED_CHANGE).await.status, 502);
    let (stdout, _) = fixture.server.stop_and_read().await;
    for (path, code) in [(CHANGE, 200), (FAILED_CHANGE, 502)] {
        let event = event(&stdout, path);
        assert_eq!(
            (event.get("client_gone"), event["response"]["code"].as_u64()),
            (None, Some(code))
        );
    }
}

#[tokio::test]
async fn a_stop_waits_for_changes_whose_callers_hung_up_and_records_them() {
    let mut fixture = Fixture::new().await;
    let mut idle = fixture.connect(Proto::H2).await;
    idle.get("/version").await.ok();
    let mut changing = fixture.connect(Proto::H2).await;
    let change = fixture.held(&mut changing, "DELETE", CHANGE).await;
    let read = fixture.held(&mut changing, "GET", READ).await;
    drop((change, read, changing));
    // Both end with their connection.
    let read = fixture.server.stdout().find(|line| line.contains(READ)).await;
    assert!(read.expect("it was audited").contains("499"));
    fixture.server.signal(Signal::TERM);
    idle.ended().await.expect("the server has begun to end");
    fixture.gate.open();
    let code = fixture.server.wait().await.code();
    let stdout = fixture.server.stdout().all().await;
    assert_eq!(code, Some(0), "{}", fixture.server.stderr().all().await);
    let change = event(&stdout, CHANGE);
    assert_eq!(change["response"]["code"], 200, "{change}");
    assert_eq!(change["client_gone"], true, "{change}");
}
