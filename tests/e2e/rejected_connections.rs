//! Clients that are refused before they are identified are in the default log, with peer, reason and remedy.

use std::net::{Ipv4Addr, SocketAddr};

use kes_harness::pki::{self, Authority};
use kes_harness::{Credential, Dialer, PROTOCOLS, Proto, Request, Server, Setup, Tls};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

const HEADER: &str = "X-Tls-Client-Cert";

/// Asserts a warning about a peer on this machine with a reason and a cure that have these words.
async fn warned(server: &Server, what: &str, reason: &str, cure: &str) {
    server.log_has(&["WARN", what, "peer=127.0.0.1", "reason=", reason, "cure=", cure]).await;
}

/// How many lines of a log have this text, and how many refusals they stand for: a line with a port
/// is about one refusal, one without is a count.
fn counted(log: &str, text: &str) -> (usize, u64) {
    let lines: Vec<_> = log.lines().filter(|line| line.contains(text)).collect();
    let refusals = lines.iter().map(|line| {
        let repeated = line.split("repeated=").nth(1).map_or(0, |count| {
            let count = count.split_whitespace().next().expect("a count");
            count.parse::<u64>().expect("a count is a number")
        });
        let peer = line.split("peer=").nth(1).and_then(|peer| peer.split_whitespace().next());
        repeated + u64::from(peer.is_some_and(|peer| peer.parse::<SocketAddr>().is_ok()))
    });
    (lines.len(), refusals.sum())
}

/// Sends bytes on a connection without TLS, and waits for its end.
async fn send(server: &Server, bytes: &[u8]) {
    let mut stream = server.dial().tcp().await.expect("a TCP connection");
    stream.write_all(bytes).await.expect("it is open");
    stream.shutdown().await.expect("it is open");
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn handshakes_that_fail_are_in_the_default_log() {
    let setup = Setup::new();
    let server = setup.start().await;
    for tls in [Tls::V12, Tls::V13] {
        server.dial().anonymous().over((Proto::H2, tls)).refused().await;
    }
    warned(&server, "TLS handshake failed", "the client sent no certificate", "API key").await;

    let thief = Credential::generate().with_chain(&[setup.admin().certificate()]);
    server.dial().show(&thief).refused().await;
    warned(&server, "TLS handshake failed", "a signature of the client is wrong", "key").await;

    let unreadable = Credential::generate().with_chain(&[&CertificateDer::from(vec![0x30, 0])]);
    server.dial().show(&unreadable).refused().await;
    warned(&server, "TLS handshake failed", "certificate cannot be read", "issue").await;

    // A client that trusts another server says so.
    let other = pki::server(&["localhost"]);
    Dialer::new(server.address(), other.certificate().clone()).show(setup.admin()).refused().await;
    warned(&server, "TLS handshake failed", "does not trust the server", "CA of tls.cert").await;

    send(&server, &[0x16, 3, 1, 0, 200, 1]).await;
    warned(&server, "TLS handshake failed", "closed the connection during", "log").await;
    send(&server, b"\0\x01\x02\x03 no TLS at all").await;
    warned(&server, "TLS handshake failed", "what the client sent is not TLS", "https://").await;
    send(&server, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").await;
    warned(&server, "TLS handshake failed", "what the client sent is not TLS", "PROXY").await;

    let (_, log) = server.stop_and_read().await;
    assert!(!log.contains("Other("), "{log}");
}

#[tokio::test]
async fn client_certificates_that_no_authority_vouches_for_are_in_the_default_log() {
    let authority = Authority::new();
    let setup = Setup::new();
    let setup = setup.with_client_ca(&authority.pem());
    let server = setup.start().await;
    for protocol in PROTOCOLS {
        server.dial().show(&Credential::generate()).over(protocol).refused().await;
        server.dial().show(&authority.issue_until(2001)).over(protocol).refused().await;
    }
    warned(&server, "TLS handshake failed", "signed by an unknown authority", "tls.ca").await;
    warned(&server, "TLS handshake failed", "certificate expired at 2001-", "renew").await;
    let server_s = authority.issue_server(&["localhost"]);
    // Its certificate is in the list, so that the handshake succeeds.
    let mut as_client = server.connect(&authority.as_client(&[authority.certificate()])).await;
    assert_eq!(as_client.get("/v1/status").await.status, 400);
    warned(&server, "request refused", "certificate is that of a CA", "CA:FALSE").await;
    server.dial().show(&server_s).refused().await;
    warned(&server, "TLS handshake failed", "certificate is not for clients", "clientAuth").await;
    let (_, log) = server.stop_and_read().await;
    assert!(!log.contains("Other("), "{log}");
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_in_time_is_in_the_default_log() {
    let setup = Setup::new();
    let server = setup.start().await;
    let mut stream = server.dial().tcp().await.expect("a TCP connection");
    stream.write_all(&[0x16, 3]).await.expect("it is open");
    warned(&server, "TLS handshake failed", "did not finish the handshake in time", "TLS").await;
}

#[tokio::test]
async fn requests_without_an_identity_are_in_the_default_log_and_those_that_need_none_are_not() {
    let authority = Authority::new();
    let leaf = authority.issue();
    let (own, other) = (leaf.certificate(), Credential::generate());
    let setup = Setup::new().with(json!({ "api": { "/v1/ready": { "skip_auth": true } } }));
    let server = setup.start().await;
    let several = leaf.with_chain(&[own, other.certificate()]);
    let ca = authority.as_client(&[authority.certificate()]);
    for protocol in PROTOCOLS {
        let clients =
            [server.dial().anonymous(), server.dial().show(&ca), server.dial().show(&several)];
        for dialer in clients {
            let mut connection = dialer.over(protocol).connect().await.expect("a connection");
            connection.get("/v1/ready").await.ok_empty();
            connection.get("/version").await.ok();
            assert_eq!(connection.get("/v1/status").await.status, 400);
        }
    }
    // A client with an identity is not in the log, whatever the answer.
    assert_eq!(server.connect(&other).await.get("/v1/status").await.status, 403);
    let (_, log) = server.stop_and_read().await;
    for (reason, cure) in [
        ("the client sent no certificate", "skip_auth"),
        ("the client's certificate is that of a CA", "CA:FALSE"),
        ("further certificates that are not those of CAs", "nothing else"),
    ] {
        assert_eq!(counted(&log, reason), (4, 4), "{reason}: {log}");
        let line = log.lines().find(|line| line.contains(reason)).expect("it was counted");
        assert!(line.contains("WARN request refused") && line.contains(cure), "{line}");
    }
    assert_eq!(counted(&log, "refused"), (12, 12), "{log}");
}

#[tokio::test]
async fn certificates_that_a_proxy_forwards_badly_are_in_the_default_log() {
    let authority = Authority::new();
    let (proxy, alien) = (authority.issue(), Credential::generate());
    let setup = Setup::new();
    let setup = setup.with_client_ca(&authority.pem()).with(json!({ "tls": {
        "proxy": { "identities": [proxy.identity()], "header": { "cert": HEADER } },
    } }));
    let server = setup.start().await;
    let escaped = |pem: String| utf8_percent_encode(&pem, NON_ALPHANUMERIC).to_string();
    let (good, bad) = (escaped(proxy.chain_pem()), escaped(alien.chain_pem()));
    let ca = escaped(authority.pem());
    for protocol in PROTOCOLS {
        let mut proxy = server.connect_over(&proxy, protocol).await;
        for (values, status) in [
            (vec![], 400),
            (vec![&good, &good], 400),
            (vec![&good[..9].to_owned()], 400),
            (vec![&ca], 400),
            (vec![&bad], 403),
        ] {
            let mut request =
                Request::new("GET", "/v1/status").header("X-Forwarded-For", "203.0.113.7");
            for value in values {
                request = request.header(HEADER, value);
            }
            assert_eq!(proxy.send(request).await.status, status);
        }
    }
    let (_, log) = server.stop_and_read().await;
    for (reason, cure) in [
        ("a TLS proxy forwarded no client certificate", HEADER),
        ("a TLS proxy forwarded several client certificates", HEADER),
        ("a TLS proxy forwarded cannot be read", "URL-escaped PEM"),
        ("forwarded by a TLS proxy: the client's certificate is that of a CA", "CA:FALSE"),
        ("forwarded by a TLS proxy: the client's certificate is signed by an unknown", "tls.ca"),
    ] {
        assert_eq!(counted(&log, reason), (4, 4), "{reason}: {log}");
        let line = log.lines().find(|line| line.contains(reason)).expect("it was counted");
        assert!(line.contains(cure) && line.contains("203.0.113.7"), "{line}");
    }
}

#[tokio::test]
async fn connections_that_close_without_a_byte_are_not_in_the_default_log() {
    let setup = Setup::new();
    let server = setup.start().await;
    for _ in 0..20 {
        let stream = server.dial().tcp().await.expect("a TCP connection");
        drop(stream);
        send(&server, b"").await;
    }
    server.dial().anonymous().refused().await;
    warned(&server, "TLS handshake failed", "the client sent no certificate", "API key").await;
    let (_, log) = server.stop_and_read().await;
    assert_eq!(log.matches("TLS handshake").count(), 1, "{log}");
    assert!(!log.contains("without a byte"), "{log}");
}

/// Sends plain HTTP from these addresses, 50 at a time.
async fn burst(server: &Server, from: impl Iterator<Item = Ipv4Addr>) {
    let (address, mut sending) = (server.address(), JoinSet::new());
    for ip in from {
        if sending.len() >= 50 {
            sending.join_next().await.expect("there are some").expect("it was answered");
        }
        sending.spawn(async move {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((ip, 0).into()).expect("all of 127.0.0.0/8 is this machine");
            let mut stream = socket.connect(address).await.expect("a TCP connection");
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it is open");
            stream.read_to_end(&mut Vec::new()).await.expect("an answer");
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("it was answered");
    }
}

#[tokio::test]
async fn a_burst_of_10_000_is_tens_of_lines_and_a_count() {
    for peers in [1, 5_000] {
        let setup = Setup::new();
        let server = setup.start().await;
        let ip = |number: u32| Ipv4Addr::from_bits(0x7f01_0001 + number % peers);
        burst(&server, (0..10_000).map(ip)).await;
        server.connect(setup.admin()).await.get("/v1/status").await.ok();
        let (_, log) = server.stop_and_read().await;
        let (lines, refusals) = counted(&log, "plain HTTP");
        assert!(lines < 100, "{lines} lines from {peers} peers");
        assert_eq!(refusals, 10_000, "{log}");
        assert!(log.lines().any(|line| line.contains("repeated=")), "{log}");
    }
}

#[tokio::test]
async fn ciphertexts_that_cannot_be_decrypted_are_folded_too() {
    let setup = Setup::new();
    let server = setup.start_with_key("k").await;
    let mut admin = server.connect(setup.admin()).await;
    let ciphertext = kes_harness::b64([7; 100]);
    let body = json!({ "ciphertext": ciphertext }).to_string();
    for _ in 0..500 {
        assert_eq!(admin.post("/v1/key/decrypt/k", &body).await.status, 400);
    }
    let (_, log) = server.stop_and_read().await;
    let lines = log.lines().filter(|line| line.contains("not authentic")).count();
    assert!((1..50).contains(&lines), "{log}");
    let line = log.lines().find(|line| line.contains("not authentic")).expect("there is one");
    assert!(line.contains("'k'") && line.contains(setup.admin().identity()), "{line}");
}

#[tokio::test]
async fn with_the_error_log_at_error_refusals_are_not_shown() {
    for level in ["error", "off", "warn+2"] {
        let setup = Setup::new().with(json!({ "log": { "error": level } }));
        let server = setup.start().await;
        server.dial().anonymous().refused().await;
        let (_, log) = server.stop_and_read().await;
        assert!(!log.contains("handshake"), "{level}: {log}");
    }
}
