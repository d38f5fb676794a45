//! TLS versions, ALPN and client identities.

use kes_harness::pki::{self, Authority};
use kes_harness::{Credential, PROTOCOLS, Proto, Setup, Tls, kes, vectors};
use rustls::SignatureScheme;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const REQUIRED: &str = "tls: client certificate is required";
const AMBIGUOUS: &str = "tls: received more than one client certificate";

#[tokio::test]
async fn row_1_serves_https_on_tls_1_2_and_1_3_for_the_names_in_its_certificate() {
    let setup = Setup::new();
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        for name in ["localhost", "127.0.0.1"] {
            let dialer = server.dial().show(setup.admin()).over(protocol).name(name);
            dialer.connect().await.expect("the name is in the certificate").get("/version").await;
        }
        let dialer = server.dial().show(setup.admin()).over(protocol).name("kes.example.org");
        assert!(dialer.connect().await.is_err(), "the name is not in the certificate");
    }
}

#[tokio::test]
async fn row_1_a_server_certificate_without_names_is_refused_at_start() {
    let setup = Setup::new();
    let nameless = pki::server(&[]);
    std::fs::write(setup.certificate_file(), nameless.chain_pem()).expect("the folder is ours");
    std::fs::write(setup.folder().join("server.key"), nameless.key_pem()).expect("it is ours");
    let finished = setup.refused().await;
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("tls.cert"), "{finished:?}");
}

#[tokio::test]
async fn row_2_h2_and_http_1_1_are_negotiated_and_served() {
    let setup = Setup::new();
    let server = setup.start().await;
    for tls in [Tls::V12, Tls::V13] {
        let dialer = server.dial().show(setup.admin()).over((Proto::H2, tls));
        for (offer, chosen) in [
            (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
            (&["http/1.1", "h2"], Some(b"h2")),
            (&["http/1.1"], Some(b"http/1.1")),
            (&["h2"], Some(b"h2")),
            (&[], None),
        ] {
            let stream = dialer.clone().offer(offer).tls().await.expect("a handshake");
            assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offer:?}");
        }
        let dialer = server.dial().show(setup.admin()).over((Proto::H1, tls)).offer(&[]);
        dialer.connect().await.expect("a connection").get("/v1/status").await.ok();
    }
}

#[tokio::test]
async fn row_3_the_certificate_request_offers_ed25519_ecdsa_and_rsa() {
    let setup = Setup::new();
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        let dialer = server.dial().show(setup.admin()).over(protocol);
        dialer.connect().await.expect("a connection").get("/v1/status").await.ok();
        let schemes = dialer.seen().schemes();
        for scheme in [
            SignatureScheme::ED25519,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::RSA_PSS_SHA256,
        ] {
            assert!(schemes.contains(&scheme), "{protocol:?}: {scheme:?} is not among {schemes:?}");
        }
    }
}

#[tokio::test]
async fn row_3_clients_of_every_algorithm_are_known_by_their_key() {
    let mut clients = vec![
        Credential::generate(),
        Credential::of_algorithm(&rcgen::PKCS_ECDSA_P256_SHA256),
        Credential::of_algorithm(&rcgen::PKCS_ECDSA_P384_SHA384),
    ];
    clients.extend(Credential::fixtures());
    let clients: Vec<&Credential> = clients.iter().collect();
    let setup = Setup::new().policy("p", &["/v1/status"], &[], &clients);
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        for client in &clients {
            let mut connection = server.connect_over(client, protocol).await;
            connection.get("/v1/status").await.ok();
            let answer = connection.get("/v1/identity/self/describe").await.ok();
            assert_eq!(answer.text("identity"), client.identity(), "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn row_4_self_signed_certificates_are_accepted_and_only_the_identity_counts() {
    let (known, unknown) = (Credential::generate(), Credential::generate());
    let setup = Setup::new().minio(&[&known]);
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        server.connect_over(&known, protocol).await.get("/v1/status").await.ok();
        let answer = server.connect_over(&unknown, protocol).await.get("/v1/status").await;
        answer.refused(403, "not authorized: insufficient permissions");
    }
}

#[tokio::test]
async fn row_5_expired_and_not_yet_valid_client_certificates_work() {
    let (expired, future) = (Credential::valid(2001, 2002), Credential::valid(3000, 3001));
    let setup = Setup::new().minio(&[&expired, &future]);
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        for client in [&expired, &future] {
            server.connect_over(client, protocol).await.get("/v1/status").await.ok();
        }
    }
}

#[tokio::test]
async fn row_6_the_identity_is_the_hash_of_the_public_key() {
    let formats = vectors::formats();
    let recorded = formats.identities.iter();
    let recorded =
        recorded.filter_map(|row| Some((row.api_key.as_deref()?, row.identity.as_str())));
    for (api_key, identity) in vectors::PUBLISHED_API_KEYS.into_iter().chain(recorded) {
        let client = Credential::from_api_key(api_key);
        assert_eq!(client.identity(), identity);
        let setup = Setup::new().minio(&[&client]);
        let server = setup.start().await;
        let answer = server.connect(&client).await.get("/v1/identity/self/describe").await.ok();
        assert_eq!(answer.text("identity"), identity);
        assert_eq!(kes().run(&["identity", "of", api_key]).await.ok(), identity);
    }
}

#[tokio::test]
async fn row_6_the_identity_of_recorded_certificates_is_the_recorded_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("client.crt");
    for row in vectors::formats().identities {
        let Some(certificate) = row.certificate else { continue };
        std::fs::write(&file, certificate).expect("the folder is ours");
        let of = ["identity".as_ref(), "of".as_ref(), file.as_os_str()];
        assert_eq!(kes().run(&of).await.ok(), row.identity);
    }
}

#[tokio::test]
async fn row_7_the_first_certificate_is_the_identity_and_further_ones_must_be_authorities() {
    let authority = Authority::new();
    let leaf = authority.issue();
    let other = Credential::generate();
    let (own, ca) = (leaf.certificate(), authority.certificate());
    let setup = Setup::new().minio(&[&leaf, &other]);
    let server = setup.start().await;
    let chains = [
        (leaf.with_chain(&[own]), Ok(())),
        (leaf.with_chain(&[own, ca]), Ok(())),
        (leaf.with_chain(&[own, ca, ca]), Ok(())),
        (leaf.with_chain(&[own, other.certificate()]), Err(AMBIGUOUS)),
        (leaf.with_chain(&[own, ca, other.certificate()]), Err(AMBIGUOUS)),
        (leaf.with_chain(&[own, own]), Err(AMBIGUOUS)),
        (authority.as_client(&[ca]), Err(REQUIRED)),
    ];
    for protocol in PROTOCOLS {
        for (client, outcome) in &chains {
            let mut connection = server.connect_over(client, protocol).await;
            let answer = connection.get("/v1/identity/self/describe").await;
            match outcome {
                Ok(()) => assert_eq!(answer.ok().text("identity"), leaf.identity()),
                Err(message) => answer.refused(400, message),
            }
        }
    }
}

#[tokio::test]
async fn row_7_a_certificate_behind_a_foreign_authority_gives_no_identity() {
    let setup = Setup::new();
    let server = setup.start().await;
    let authority = Authority::new();
    let admin = setup.admin().certificate();
    for protocol in PROTOCOLS {
        let thief = authority.as_client(&[authority.certificate(), admin]);
        let mut connection = server.connect_over(&thief, protocol).await;
        for path in ["/v1/status", "/v1/key/list/", "/v1/identity/self/describe"] {
            let answer = connection.get(path).await;
            assert_eq!(answer.status, 400, "{protocol:?} {path}: {answer:?}");
            answer.error();
        }
        connection.call("POST", "/v1/key/create/stolen").await.refused(400, REQUIRED);
    }
    let answer = server.connect(setup.admin()).await.get("/v1/key/describe/stolen").await;
    answer.refused(404, "key does not exist");
}

#[tokio::test]
async fn row_7_a_certificate_whose_key_the_client_does_not_have_is_refused_in_the_handshake() {
    let setup = Setup::new();
    let server = setup.start().await;
    let thief = Credential::generate().with_chain(&[setup.admin().certificate()]);
    for protocol in PROTOCOLS {
        let answer = match server.dial().show(&thief).over(protocol).connect().await {
            Err(_) => continue,
            Ok(mut connection) => {
                connection.try_send(kes_harness::Request::new("GET", "/v1/status")).await
            }
        };
        assert!(answer.is_err(), "{protocol:?}: {answer:?}");
    }
}

#[tokio::test]
async fn row_8_sessions_are_not_resumed() {
    let setup = Setup::new();
    let server = setup.start().await;
    for tls in [Tls::V12, Tls::V13] {
        let dialer = server.dial().show(setup.admin()).over((Proto::H1, tls));
        let mut stream = dialer.tls().await.expect("a handshake");
        let request = b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(dialer.seen().sessions(), [""; 0], "{tls:?}");
    }
}
