//! Identities that a TLS proxy forwards in a header.

use kes_harness::pki::Authority;
use kes_harness::{Connection, Credential, PROTOCOLS, Request, Setup, b64};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

const HEADER: &str = "X-Tls-Client-Cert";

struct Fixture {
    setup: Setup,
    proxy: Credential,
    first: Credential,
    second: Credential,
    unknown: Credential,
}

fn fixture() -> Fixture {
    let (proxy, first) = (Credential::generate(), Credential::generate());
    let (second, unknown) = (Credential::generate(), Credential::generate());
    let setup = Setup::new()
        .policy("first", &["/v1/key/create/first-*"], &[], &[&first])
        .policy("second", &["/v1/key/create/second-*"], &[], &[&second])
        .with(json!({ "tls": { "proxy": {
            "identities": [proxy.identity()],
            "header": { "cert": HEADER },
        } } }));
    Fixture { setup, proxy, first, second, unknown }
}

fn escaped(credential: &Credential) -> String {
    utf8_percent_encode(&credential.chain_pem(), NON_ALPHANUMERIC).to_string()
}

fn as_caller(caller: &Credential, method: &str, path: &str) -> Request {
    Request::new(method, path).header(HEADER, &escaped(caller))
}

async fn who(connection: &mut Connection, caller: &Credential) -> String {
    let request = as_caller(caller, "GET", "/v1/identity/self/describe");
    connection.send(request).await.ok().text("identity")
}

#[tokio::test]
async fn a_request_from_a_listed_proxy_counts_as_the_forwarded_identity() {
    let fixture = fixture();
    let server = fixture.setup.start().await;
    for protocol in PROTOCOLS {
        let mut proxy = server.connect_over(&fixture.proxy, protocol).await;
        assert_eq!(who(&mut proxy, &fixture.first).await, fixture.first.identity());
        let request = as_caller(&fixture.unknown, "GET", "/v1/status");
        proxy.send(request).await.refused(403, "not authorized: insufficient permissions");
        let request = as_caller(fixture.setup.admin(), "GET", "/v1/status");
        proxy.send(request).await.ok();
    }
}

#[tokio::test]
async fn a_forwarded_identity_belongs_to_its_request_alone() {
    let fixture = fixture();
    let server = fixture.setup.start().await;
    let mut proxy = server.connect(&fixture.proxy).await;
    for round in 0..20 {
        let mut pending = Vec::new();
        for (caller, own, others) in [
            (&fixture.first, format!("first-{round}"), format!("second-x{round}")),
            (&fixture.second, format!("second-{round}"), format!("first-x{round}")),
        ] {
            for (name, status) in [(own, 200), (others, 403)] {
                let request = as_caller(caller, "POST", &format!("/v1/key/create/{name}"));
                pending.push((proxy.start(request).await.expect("a connection"), status));
            }
        }
        let bare = Request::new("POST", &format!("/v1/key/create/first-bare{round}"));
        pending.push((proxy.start(bare).await.expect("a connection"), 400));
        for (pending, status) in pending {
            let answer = pending.answer().await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn the_header_counts_only_from_listed_proxies() {
    let fixture = fixture();
    let server = fixture.setup.start().await;
    for protocol in PROTOCOLS {
        let mut connection = server.connect_over(&fixture.first, protocol).await;
        for caller in [fixture.setup.admin(), &fixture.second] {
            assert_eq!(who(&mut connection, caller).await, fixture.first.identity());
        }
        let request = Request::new("GET", "/v1/identity/self/describe").header(HEADER, "junk");
        connection.send(request).await.ok();
        let mut unknown = server.connect_over(&fixture.unknown, protocol).await;
        let request = as_caller(fixture.setup.admin(), "GET", "/v1/status");
        unknown.send(request).await.refused(403, "not authorized: insufficient permissions");
    }
}

#[tokio::test]
async fn a_missing_repeated_or_malformed_header_from_a_proxy_is_400() {
    let fixture = fixture();
    let server = fixture.setup.start().await;
    let good = escaped(&fixture.first);
    let bad = [
        vec![],
        vec![good.as_str(), good.as_str()],
        vec![""],
        vec!["junk"],
        vec!["%"],
        vec!["%zz"],
        vec!["%ff%fe"],
        vec!["-----BEGIN%20CERTIFICATE-----%0AAAAA%0A-----END%20CERTIFICATE-----%0A"],
    ];
    let key = utf8_percent_encode(&fixture.first.key_pem(), NON_ALPHANUMERIC).to_string();
    let raw = b64(fixture.first.certificate());
    let two = format!("{good}{}", escaped(&fixture.second));
    // What a client adds to a header of its own, by a proxy that joins them or is careless.
    let (admin, pem) = (escaped(fixture.setup.admin()), fixture.first.chain_pem());
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let around = [
        format!("{admin},{good}"),
        format!("{admin}, {good}"),
        format!("{admin}%2C{good}"),
        format!("{good},"),
        format!(",{good}"),
        format!("junk%0A{good}"),
        format!("{good}junk"),
        format!("{good}%"),
        format!("{good}%0"),
        format!("{good}%zz"),
        format!("{good}%00"),
        escape(&pem.replacen("-----END", "Proxy: x\n-----END", 1)),
        escape(&format!("{}{pem}", pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"))),
    ];
    for protocol in PROTOCOLS {
        let mut proxy = server.connect_over(&fixture.proxy, protocol).await;
        for values in bad
            .iter()
            .cloned()
            .chain([vec![key.as_str()], vec![&raw], vec![&two]])
            .chain(around.iter().map(|value| vec![value.as_str()]))
        {
            let mut request = Request::new("GET", "/v1/identity/self/describe");
            for value in &values {
                request = request.header(HEADER, value);
            }
            let answer = proxy.send(request).await;
            assert_eq!(answer.status, 400, "{protocol:?} {values:?}: {answer:?}");
            answer.error();
        }
        let joined = Request::new("GET", "/v1/status").header(HEADER, &around[0]);
        let ambiguous = "tls: received more than one client certificate";
        proxy.send(joined).await.refused(400, ambiguous);
        // White space around the certificate is ignored.
        let padded = format!("%0A%20{good}%0D%0A%0A");
        let padded = Request::new("GET", "/v1/identity/self/describe").header(HEADER, &padded);
        assert_eq!(proxy.send(padded).await.ok().text("identity"), fixture.first.identity());
        // The next request is not affected.
        assert_eq!(who(&mut proxy, &fixture.second).await, fixture.second.identity());
    }
}

#[tokio::test]
async fn the_audit_log_names_the_caller_and_the_address_that_the_proxy_forwarded() {
    let fixture = fixture();
    let server = fixture.setup.start().await;
    let mut admin = server.connect(fixture.setup.admin()).await;
    let mut audit = admin.follow("/v1/log/audit").await;
    let mut proxy = server.connect(&fixture.proxy).await;
    let request = as_caller(&fixture.first, "POST", "/v1/key/create/first-audited")
        .header("X-Forwarded-For", "203.0.113.7");
    proxy.send(request).await.ok_empty();
    let path = "/v1/key/create/first-audited";
    let event = audit.find(|event| event["request"]["path"] == path).await;
    assert_eq!(event["request"]["identity"], fixture.first.identity());
    assert_eq!(event["request"]["ip"], "203.0.113.7");
    assert!(event.to_string().contains("127.0.0.1"), "the proxy's own address: {event}");
}

#[tokio::test]
async fn with_auth_on_a_forwarded_chain_must_lead_to_the_given_authority() {
    let root = Authority::new();
    let between = root.subordinate();
    let (proxy, near, far) = (root.issue(), root.issue(), between.issue());
    let far = far.with_chain(&[far.certificate(), between.certificate()]);
    let cut_off = between.issue();
    let foreign = Credential::generate();
    let setup = Setup::new().minio(&[&near, &far, &cut_off, &foreign]);
    let file = setup.folder().join("ca.crt");
    std::fs::write(&file, root.pem()).expect("the folder is ours");
    let setup = setup.with(json!({ "tls": {
        "auth": "on",
        "ca": file,
        "proxy": { "identities": [proxy.identity()], "header": { "cert": HEADER } },
    } }));
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let mut proxy = server.connect_over(&proxy, protocol).await;
        for caller in [&near, &far] {
            assert_eq!(who(&mut proxy, caller).await, caller.identity());
        }
        for caller in [&cut_off, &foreign] {
            let request = as_caller(caller, "GET", "/v1/status");
            proxy.send(request).await.refused(403, "not authorized: insufficient permissions");
        }
    }
}
