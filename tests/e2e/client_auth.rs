//! Client authentication: connections without a certificate, and `tls.auth: on`.

use kes_harness::pki::Authority;
use kes_harness::{Credential, PROTOCOLS, Server, Setup, repository};
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::json;

const V1_IDENTITY: &str = "47864f390d6db7df04ce311bccf8b167c5b1ed4487f147f0de2abcb7bc5dab09";
const V1_SELF_SIGNED_IDENTITY: &str =
    "9f8edaac6adb5f4185d8063d3d79017df5d135d9957f43b1411a78c56935dc23";

/// Asserts that a client, or one without a certificate, is refused in every way.
async fn refused(server: &Server, client: Option<&Credential>) {
    for protocol in PROTOCOLS {
        let dialer = server.dial().over(protocol);
        let dialer = match client {
            Some(client) => dialer.show(client),
            None => dialer,
        };
        dialer.refused().await;
    }
}

#[tokio::test]
async fn by_default_a_connection_without_a_certificate_fails_in_the_handshake() {
    let setup = Setup::new();
    let server = setup.start().await;
    refused(&server, None).await;
    server.connect(setup.admin()).await.get("/version").await.ok();
}

#[tokio::test]
async fn with_auth_on_the_chain_must_lead_to_the_given_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (known, foreign, expired) = (authority.issue(), other.issue(), authority.issue_until(2001));
    let self_signed = Credential::generate();
    let setup = Setup::new().minio(&[&known, &foreign, &expired, &self_signed]);
    let setup = setup.with_client_ca(&authority.pem());
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        server.connect_over(&known, protocol).await.get("/v1/status").await.ok();
        let chain = known.with_chain(&[known.certificate(), authority.certificate()]);
        server.connect_over(&chain, protocol).await.get("/v1/status").await.ok();
    }
    for client in [&foreign, &expired, &self_signed] {
        refused(&server, Some(client)).await;
    }
    refused(&server, None).await;
}

#[tokio::test]
async fn with_auth_on_a_client_s_certificate_may_itself_be_in_the_list() {
    let authority = Authority::new();
    let (issued, self_signed, other) =
        (authority.issue(), Credential::generate(), Credential::generate());
    // All that a forger can copy: the subject, the dates, the usages; not the key.
    let forged = self_signed.with_chain(&[&other.twin_of(&self_signed)]);
    let setup = Setup::new().minio(&[&issued, &self_signed, &other]);
    let list = [issued.chain_pem(), self_signed.chain_pem()].concat();
    let setup = setup.with_client_ca(&list);
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        for client in [&issued, &self_signed] {
            server.connect_over(client, protocol).await.get("/v1/status").await.ok();
        }
    }
    for client in [&other, &authority.issue(), &forged] {
        refused(&server, Some(client)).await;
    }
}

#[tokio::test]
async fn with_auth_on_an_authority_of_the_list_is_still_no_caller() {
    let authority = Authority::new();
    let setup = Setup::new();
    let setup = setup.with_client_ca(&authority.pem());
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let client = authority.as_client(&[authority.certificate()]);
        let answer = server.connect_over(&client, protocol).await.get("/v1/status").await;
        answer.refused(400, "tls: client certificate is required");
    }
}

#[tokio::test]
async fn with_auth_on_clients_that_go_accepts_are_accepted() {
    let authority = Authority::new();
    let any = authority.issue_for(&[ExtendedKeyUsagePurpose::Any]);
    let none = authority.issue_for(&[]);
    let servers = authority.issue_for(&[ExtendedKeyUsagePurpose::ServerAuth]);
    let mail = authority.issue_for(&[ExtendedKeyUsagePurpose::EmailProtection]);
    let version_1 = Credential::fixture("v1-issued", V1_IDENTITY);
    let foreign = Credential::fixture("v1", V1_SELF_SIGNED_IDENTITY);
    let setup = Setup::new().minio(&[&any, &none, &servers, &mail, &version_1, &foreign]);
    let folder = setup.folder().join("authorities");
    std::fs::create_dir(&folder).expect("the folder is ours");
    let v1_authority = repository().join("tests/fixtures/v1-issued-ca.crt");
    std::fs::copy(v1_authority, folder.join("1.crt")).expect("the fixture is there");
    std::fs::write(folder.join("2.crt"), authority.pem()).expect("the folder is ours");
    let setup = setup.with(json!({ "tls": { "auth": "on", "ca": folder } }));
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        for client in [&any, &none, &version_1] {
            server.connect_over(client, protocol).await.get("/v1/status").await.ok();
        }
    }
    for client in [&servers, &mail, &foreign] {
        refused(&server, Some(client)).await;
    }
}
