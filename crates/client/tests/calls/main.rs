//! Tests of calls to real TLS and HTTP servers.

#![cfg(test)]

mod peer;
mod proxy;
mod trust;

use std::error::Error as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use kes_client::{
    Client, ClientConfig, ClientError, ClientIdentity, ConnectError, Proxies, ServerTrust,
    SetupError, Timeouts,
};
use kes_types::{KeyName, ListPattern, Secret};
use rcgen::DnType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use peer::{Credential, Peer, Reply, Seen, endpoint};

const PROTOCOLS: [&str; 2] = ["http/1.1", "h2"];

fn name() -> KeyName {
    KeyName::parse("my-key").unwrap()
}

fn json(status: u16, body: &'static str) -> Reply {
    Reply::Answer(status, Bytes::from_static(body.as_bytes()))
}

#[tokio::test]
async fn after_a_fault_the_next_server_gets_the_whole_request() {
    for alpn in PROTOCOLS {
        let credential = Credential::new();
        let first = Peer::start(alpn, &credential, json(503, r#"{"message":"draining"}"#)).await;
        let second = Peer::start(alpn, &credential, json(200, r#"{"ciphertext":"AQID"}"#)).await;
        let client = credential.client(&[&first, &second]);
        let plaintext = Secret::new(vec![7; 100_000]);
        let answer = client.encrypt(&name(), plaintext, b"context".to_vec()).await.unwrap();
        assert_eq!(answer.ciphertext.0, [1, 2, 3]);

        let request = &first.seen()[0];
        assert_eq!((&request.method, &*request.path), (&Method::PUT, "/v1/key/encrypt/my-key"));
        assert_eq!(request.agent, concat!("kes/", env!("CARGO_PKG_VERSION")));
        assert_eq!(request.content_type.as_deref(), Some("application/json"));
        assert_eq!(request.certificate, credential.certificate);
        assert!(request.body.len() > 133_000, "{}", request.body.len());
        assert!(request.body.ends_with(br#","context":"Y29udGV4dA=="}"#));
        assert_eq!(second.seen(), first.seen(), "{alpn}");
    }
}

#[tokio::test]
async fn servers_that_cannot_be_connected_to_are_passed_over() {
    let credential = Credential::new();
    // Bound without listen: connections are refused.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let untrusted = Peer::start("h2", &credential, json(200, "")).await;
    let server = Peer::start("h2", &credential, json(200, "")).await;
    let refused = endpoint(closed.local_addr().unwrap());
    let trust = ServerTrust::Certificates(vec![server.certificate.clone()]);
    let mut endpoints = vec![refused, untrusted.endpoint.clone(), server.endpoint.clone()];
    let client = credential.client_of(endpoints.clone(), trust.clone(), Timeouts::default());
    client.create_key(&name()).await.unwrap();
    let expected = Seen {
        method: Method::PUT,
        path: "/v1/key/create/my-key".to_owned(),
        agent: concat!("kes/", env!("CARGO_PKG_VERSION")).to_owned(),
        content_type: None,
        body: Bytes::new(),
        certificate: credential.certificate.clone(),
    };
    assert_eq!(server.seen(), [expected]);
    assert!(untrusted.seen().is_empty());

    endpoints.pop();
    let client = credential.client_of(endpoints, trust, Timeouts::default());
    let error = client.ready().await.unwrap_err();
    assert!(error.is_untrusted());
    let ClientError::Unreachable(attempts) = error else { panic!("{error:?}") };
    let errors: Vec<_> = attempts.0.iter().map(|attempt| &attempt.error).collect();
    assert!(matches!(errors[..], [ConnectError::Tcp(_), ConnectError::Untrusted(_)]), "{errors:?}");
}

#[tokio::test]
async fn every_answer_but_a_fault_is_final() {
    for (status, body) in [
        (404, r#"{"message":"key does not exist"}"#),
        (403, r#"{"message":"not authorized: insufficient permissions"}"#),
        (501, r#"{"message":"not here"}"#),
        (204, ""),
        (307, ""),
    ] {
        let credential = Credential::new();
        let first = Peer::start("http/1.1", &credential, json(status, body)).await;
        let second = Peer::start("http/1.1", &credential, json(200, "{}")).await;
        let error = credential.client(&[&first, &second]).create_key(&name()).await.unwrap_err();
        let ClientError::Status { code, .. } = error else { panic!("{error:?}") };
        assert_eq!(code.as_u16(), status);
        assert!(second.seen().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn when_all_servers_fail_the_last_fault_is_reported() {
    let credential = Credential::new();
    let first = Peer::start("h2", &credential, json(502, r#"{"message":"one"}"#)).await;
    let second = Peer::start("h2", &credential, json(504, "<html>")).await;
    let error = credential.client(&[&first, &second]).ready().await.unwrap_err();
    assert_eq!(error.to_string(), "Gateway Timeout (504)");
    let error = credential.client(&[&second, &first]).ready().await.unwrap_err();
    let ClientError::Status { code, message } = error else { panic!("{error:?}") };
    assert_eq!((code, &*message), (StatusCode::BAD_GATEWAY, "one"));
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_sent_again() {
    for alpn in PROTOCOLS {
        let credential = Credential::new();
        let first = Peer::start(alpn, &credential, Reply::Close).await;
        let second = Peer::start(alpn, &credential, json(200, "")).await;
        let error = credential.client(&[&first, &second]).create_key(&name()).await.unwrap_err();
        assert!(matches!(error, ClientError::Interrupted { .. }), "{error:?}");
        assert_eq!((first.seen().len(), second.seen().len()), (1, 0), "{alpn}");
    }
}

#[tokio::test]
async fn an_answer_is_at_most_a_mebibyte_of_the_right_json() {
    let credential = Credential::new();
    let mut longest = br#"{"names":[]}"#.to_vec();
    longest.resize(1024 * 1024, b' ');
    let server = Peer::start("h2", &credential, Reply::Answer(200, longest.clone().into())).await;
    let page = credential.client(&[&server]).list_keys(&ListPattern::parse("my-*").unwrap()).await;
    assert!(page.unwrap().names.is_empty());
    assert_eq!(server.seen()[0].path, "/v1/key/list/my-");

    longest.push(b' ');
    let server = Peer::start("h2", &credential, Reply::Answer(200, longest.into())).await;
    let everything = ListPattern::parse("").unwrap();
    let error = credential.client(&[&server]).list_keys(&everything).await.unwrap_err();
    assert!(matches!(error, ClientError::BadAnswer { .. }), "{error:?}");

    let server = Peer::start("h2", &credential, json(200, r#"{"plaintext":{"s3cret":1}}"#)).await;
    let error = credential.client(&[&server]).decrypt(&name(), vec![1], vec![]).await.unwrap_err();
    assert!(matches!(error, ClientError::BadAnswer { .. }), "{error:?}");
    assert!(!format!("{error} {:?}", error.source()).contains("s3cret"));
}

#[tokio::test]
async fn a_server_without_a_trusted_certificate_is_called_only_when_reported_to() {
    let credential = Credential::new();
    let server = Peer::start("h2", &credential, json(200, r#"{"version":"1"}"#)).await;
    let other = Credential::new().certificate;
    let client =
        |trust| credential.client_of(vec![server.endpoint.clone()], trust, Timeouts::default());
    let error = client(ServerTrust::Certificates(vec![other])).version().await.unwrap_err();
    assert!(matches!(error, ClientError::Tls(_)) && error.is_untrusted(), "{error:?}");
    assert!(server.seen().is_empty());
    assert_eq!(client(ServerTrust::Insecure).version().await.unwrap().version, "1");
}

/// Starts a server that answers the first bytes of each connection with `answer` and closes it.
async fn answer_in_plaintext(listener: TcpListener, answer: &'static [u8]) {
    while let Ok((mut tcp, _)) = listener.accept().await {
        if tcp.read(&mut [0; 4096]).await.is_ok() {
            // The client may have closed the connection already.
            let _ = tcp.write_all(answer).await;
        }
    }
}

#[tokio::test]
async fn a_port_of_another_service_is_said_to_be_one() {
    for (answer, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "the server does not speak TLS: "),
        (b"", "the server closed the connection during the TLS handshake"),
    ] {
        let credential = Credential::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = endpoint(listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_in_plaintext(listener, answer));
        let server = Peer::start("h2", &credential, json(200, "")).await;
        let client = |endpoints| {
            let trust = ServerTrust::Certificates(vec![server.certificate.clone()]);
            credential.client_of(endpoints, trust, Timeouts::default())
        };
        let error = client(vec![other.clone()]).ready().await.unwrap_err();
        let ClientError::Tls(attempts) = error else { panic!("{error:?}") };
        let ConnectError::Tls(explanation) = &attempts.0[0].error else { panic!("{attempts:?}") };
        assert!(explanation.to_string().starts_with(words), "{explanation}");
        client(vec![other, server.endpoint.clone()]).ready().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_client_s_certificate_is_passed_over() {
    for alpn in PROTOCOLS {
        let named = |name: &str| {
            Credential::with(|params| params.distinguished_name.push(DnType::CommonName, name))
        };
        let (credential, other) = (named("a client"), named("another client"));
        let strict = Peer::start(alpn, &other, json(200, "")).await;
        let server = Peer::start(alpn, &credential, json(200, "")).await;
        let error = credential.client(&[&strict]).ready().await.unwrap_err();
        let ClientError::Tls(attempts) = error else { panic!("{error:?}") };
        assert_eq!(
            attempts.0[0].error.to_string(),
            "the server does not accept our client certificate (TLS alert unknown ca): set a client \
             certificate that the server accepts",
            "{alpn}"
        );
        credential.client(&[&strict, &server]).create_key(&name()).await.unwrap();
        assert_eq!((strict.seen().len(), server.seen().len()), (0, 1), "{alpn}");
    }
}

#[tokio::test]
async fn each_server_alone_gives_its_status_and_its_certificate() {
    let credential = Credential::new();
    let status = |version: &str| {
        let status = format!(
            r#"{{"version":"{version}","os":"linux","arch":"amd64","uptime":1,"num_cpu":1,
            "num_cpu_used":1,"mem_heap_used":1,"mem_stack_used":1}}"#
        );
        Reply::Answer(200, status.into())
    };
    let first = Peer::start("h2", &credential, status("1")).await;
    let second = Peer::start("http/1.1", &credential, status("2")).await;
    let mut answers = Vec::new();
    for client in credential.client(&[&first, &second]).each() {
        let answer = client.status().await.unwrap();
        answers.push((client.endpoints().to_vec(), answer.status.version, answer.certificate));
    }
    let expected = [(&first, "1"), (&second, "2")].map(|(server, version)| {
        let certificate = Some(server.certificate.clone());
        (vec![server.endpoint.clone()], version.to_owned(), certificate)
    });
    assert_eq!(answers, expected);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_given_up() {
    let credential = Credential::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung = vec![endpoint(listener.local_addr().unwrap())];
    let client = credential.client_of(hung.clone(), ServerTrust::Insecure, Timeouts::default());
    let error = client.ready().await.unwrap_err();
    let ClientError::Unreachable(attempts) = error else { panic!("{error:?}") };
    assert!(matches!(attempts.0[0].error, ConnectError::TimedOut(limit) if limit.as_secs() == 5));

    let timeouts = Timeouts { call: Duration::from_secs(1), connect: Duration::from_secs(5) };
    let client = credential.client_of(hung, ServerTrust::Insecure, timeouts);
    let error = client.ready().await.unwrap_err();
    assert!(matches!(error, ClientError::TimedOut(limit) if limit.as_secs() == 1), "{error:?}");
}

#[test]
fn a_client_that_can_never_work_is_not_made() {
    let setup = |endpoints: &[&str], identity| {
        let endpoints = endpoints.iter().map(|text| text.parse().unwrap()).collect();
        let (trust, timeouts) = (ServerTrust::Insecure, Timeouts::default());
        let proxies = Proxies::default();
        Client::new(ClientConfig { endpoints, identity, trust, proxies, timeouts }).unwrap_err()
    };
    let credential = Credential::new();
    assert!(matches!(setup(&[], credential.identity()), SetupError::NoEndpoint));
    let no_key = ClientIdentity::new(vec![credential.certificate.clone()], Secret::new(vec![1]));
    assert!(matches!(setup(&["kes"], no_key), SetupError::Identity(_)));
    let mixed = credential.with_key_of(&Credential::new());
    assert!(matches!(setup(&["kes"], mixed), SetupError::Identity(_)));
}
