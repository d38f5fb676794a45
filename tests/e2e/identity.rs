//! Connections without a certificate, and `tls.auth: on`.

use kes_tests::pki::Authority;
use kes_tests::{Credential, Request, Server, Setup, WAYS};
use serde_json::json;

async fn fails(server: &Server, client: Option<&Credential>) {
    for way in WAYS {
        let dialer = server.dial().over(way);
        let dialer = match client {
            Some(client) => dialer.show(client),
            None => dialer,
        };
        // With TLS 1.3 the client believes that all is well until it reads.
        if let Ok(mut connection) = dialer.connect().await {
            let answer = connection.try_send(Request::new("GET", "/version")).await;
            assert!(answer.is_err(), "{way:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn by_default_a_connection_without_a_certificate_fails_in_the_handshake() {
    let setup = Setup::new();
    let server = setup.start().await;
    fails(&server, None).await;
    server.connect(setup.admin()).await.get("/version").await.ok();
}

#[tokio::test]
async fn with_auth_on_the_chain_must_lead_to_the_given_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (known, foreign, expired) = (authority.issue(), other.issue(), authority.issue_until(2001));
    let self_signed = Credential::generate();
    let setup = Setup::new().minio(&[&known, &foreign, &expired, &self_signed]);
    let file = setup.folder().join("ca.crt");
    std::fs::write(&file, authority.pem()).expect("the folder is ours");
    let setup = setup.with(json!({ "tls": { "auth": "on", "ca": file } }));
    let server = setup.start().await;
    for way in WAYS {
        server.connect_over(&known, way).await.get("/v1/status").await.ok();
        let chain = known.with_chain(&[known.certificate(), authority.certificate()]);
        server.connect_over(&chain, way).await.get("/v1/status").await.ok();
    }
    for client in [&foreign, &expired, &self_signed] {
        fails(&server, Some(client)).await;
    }
    fails(&server, None).await;
}
