//! Tests of calls through an HTTP proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kes_client::{Client, ClientConfig, ClientError, ConnectError, Proxies, ServerTrust, Timeouts};
use rcgen::SanType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::peer::{Credential, Peer, Reply};

/// A proxy that connects every tunnel to the same server; it ends when it is dropped.
struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy that answers CONNECT with `answer`, and opens the tunnel if that is a
    /// success.
    async fn start(target: SocketAddr, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://user:hunter2@{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let heads = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let connection = connect(client, target, answer, Arc::clone(&heads));
                // It fails when one of the connections ends.
                connections.spawn(async { drop(connection.await) });
            }
        });
        Self { url, asked, _tasks: tasks }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn connect(
    mut client: TcpStream,
    target: SocketAddr,
    answer: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    asked.lock().unwrap().push(String::from_utf8(head).unwrap());
    client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await?;
    if answer.starts_with("200") {
        let mut server = TcpStream::connect(target).await?;
        copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}

/// A server whose certificate names `kes.test`, a name that does not resolve.
async fn server(credential: &Credential) -> (Peer, SocketAddr) {
    let named = Credential::with(|params| {
        params.subject_alt_names.push(SanType::DnsName("kes.test".try_into().unwrap()));
    });
    let peer = Peer::start_as(named, "h2", credential, Reply::Answer(200, Bytes::new())).await;
    let address = peer.address;
    (peer, address)
}

fn client(credential: &Credential, endpoint: &str, peer: &Peer, proxies: Proxies) -> Client {
    let endpoints = vec![endpoint.parse().unwrap()];
    let trust = ServerTrust::Certificates(vec![peer.certificate.clone()]);
    let (identity, timeouts) = (credential.identity(), Timeouts::default());
    Client::new(ClientConfig { endpoints, identity, trust, proxies, timeouts }).unwrap()
}

#[tokio::test]
async fn servers_elsewhere_are_reached_through_the_proxy_with_verification_of_both_ends() {
    let credential = Credential::new();
    let (peer, address) = server(&credential).await;
    let proxy = Proxy::start(address, "200 OK").await;
    let proxies = Proxies::new(&proxy.url, "", "other.test");
    client(&credential, "kes.test:7373", &peer, proxies).ready().await.unwrap();
    assert_eq!(peer.seen()[0].certificate, credential.certificate);
    let asked = proxy.asked();
    assert!(asked[0].starts_with("CONNECT kes.test:7373 HTTP/1.1\r\n"), "{asked:?}");
    // user:hunter2
    assert!(asked[0].contains(": Basic dXNlcjpodW50ZXIy\r\n"), "{asked:?}");

    let proxies = Proxies::new(&proxy.url, "", "");
    let unnamed = client(&credential, "elsewhere.test:1", &peer, proxies);
    let error = unnamed.ready().await.unwrap_err();
    assert!(matches!(error, ClientError::Tls(_)) && error.is_untrusted(), "{error:?}");
    assert_eq!((proxy.asked().len(), peer.seen().len()), (2, 1));
}

#[tokio::test]
async fn this_machine_and_those_of_no_proxy_are_reached_directly() {
    let credential = Credential::new();
    let (peer, address) = server(&credential).await;
    let proxy = Proxy::start(address, "200 OK").await;
    let direct =
        client(&credential, &peer.endpoint.to_string(), &peer, Proxies::new(&proxy.url, "", ""));
    direct.ready().await.unwrap();
    for no_proxy in ["kes.test", ".test", "a,*"] {
        let proxies = Proxies::new(&proxy.url, "", no_proxy);
        let error = client(&credential, "kes.test:7373", &peer, proxies).ready().await.unwrap_err();
        let ClientError::Unreachable(attempts) = &error else { panic!("{error:?}") };
        assert!(matches!(attempts.0[0].error, ConnectError::Tcp(_)), "{error:?}");
    }
    assert_eq!(proxy.asked().len(), 0);
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_is_a_connection_that_failed() {
    let credential = Credential::new();
    let (peer, address) = server(&credential).await;
    for (answer, words) in [
        ("407 Proxy Authentication Required", "proxy authorization required"),
        ("503 Service Unavailable", "tunnel error"),
    ] {
        let proxy = Proxy::start(address, answer).await;
        let proxies = Proxies::new(&proxy.url, "", "");
        let error = client(&credential, "kes.test:7373", &peer, proxies).ready().await.unwrap_err();
        let ClientError::Unreachable(attempts) = error else { panic!("{error:?}") };
        let text = attempts.to_string();
        assert!(text.starts_with("https://kes.test:7373: connection failed: "), "{text}");
        assert!(text.contains(words) && !text.contains("hunter2"), "{text}");
    }
    assert!(peer.seen().is_empty());
}
