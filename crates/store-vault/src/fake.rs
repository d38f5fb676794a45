//! Provides a fake Vault server for tests of redirects, rate limits and broken connections, which a
//! real Vault does not produce on demand. All other tests use a real server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kes_config::{KvVersion, VaultCredentials, VaultKeystore, VaultLogin};
use kes_types::SystemClock;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::auth::login::Login;
use crate::auth::session::VaultSession;
use crate::auth::token_refresher::TokenRefresher;
use crate::http::Transport;

/// A canned response: head and body, or none to close the connection.
pub(crate) struct FakeResponse(Option<String>);

/// A received request: the request line, and then the headers in lower case, line by line.
pub(crate) type Seen = Vec<String>;

/// A fake server that responds until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _accepting: JoinSet<()>,
}

impl Server {
    /// Starts a server. `answer` computes each response from the request line and the number of
    /// previous requests with the same line.
    pub(crate) async fn start(
        answer: impl Fn(&str, usize) -> FakeResponse + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, answer) = (Arc::default(), Arc::new(answer));
        let mut accepting = JoinSet::new();
        let log = Arc::clone(&seen);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Self { address, seen, _accepting: accepting }
    }

    /// Returns the requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Creates a session with this server, which has not logged in yet.
    pub(crate) fn session(&self) -> VaultSession {
        let (settings, clock) = (self.settings(), Arc::new(SystemClock));
        let transport =
            Arc::new(Transport::new(&settings, &kes_outbound::Proxies::default()).unwrap());
        let login = Login::new(&settings.login).unwrap();
        let refresher = Arc::new(TokenRefresher::new(Arc::clone(&transport), login, clock));
        VaultSession { transport, refresher, namespace: None }
    }

    /// Creates settings with the address of this server.
    pub(crate) fn settings(&self) -> VaultKeystore {
        let login = VaultLogin {
            namespace: None,
            engine: "approle".to_owned(),
            credentials: VaultCredentials::AppRole {
                id: "role".to_owned().into(),
                secret: "secret".to_owned().into(),
            },
        };
        VaultKeystore {
            endpoint: format!("http://{}", self.address),
            engine: "kv".to_owned(),
            version: KvVersion::V2,
            namespace: None,
            prefix: String::new(),
            transit: None,
            login,
            client: None,
            ca: Some(Vec::new()),
            ping: Duration::from_secs(10),
        }
    }
}

/// Creates the response to a login.
pub(crate) fn token() -> FakeResponse {
    json(200, "", r#"{"auth":{"client_token":"t","lease_duration":60}}"#)
}

/// Closes the connection without a response.
pub(crate) fn hang_up() -> FakeResponse {
    FakeResponse(None)
}

/// Creates a response in JSON.
pub(crate) fn json(status: u16, header: &str, body: &str) -> FakeResponse {
    let length = body.len();
    FakeResponse(Some(format!(
        "HTTP/1.1 {status} \r\n{header}Content-Length: {length}\r\n\r\n{body}"
    )))
}

async fn serve(
    stream: TcpStream,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<impl Fn(&str, usize) -> FakeResponse + Send + Sync>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = head(&mut stream).await {
        let length = request.iter().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        let line = request[0].clone();
        let before = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            seen.iter().filter(|request| request[0] == line).count() - 1
        };
        let FakeResponse(Some(answer)) = answer(&line, before) else { return };
        // A client that stops reading closes the connection.
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn head(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return Some(head),
            line if head.is_empty() => head.push(line.trim_end_matches(" HTTP/1.1").to_owned()),
            line => head.push(line.to_ascii_lowercase()),
        }
    }
}
