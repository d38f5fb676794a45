//! An HTTP proxy that tunnels (CONNECT, RFC 9110, 9.3.6), to one server whatever name is asked for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The longest head of a request, in bytes.
const HEAD_LEN_MAX: usize = 16 << 10;

/// A running proxy, which ends when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    _accepting: JoinSet<()>,
}

impl Tunnel {
    /// Listens on a port of its own; every tunnel leads to `target`.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it was just bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, Arc::clone(&seen)));
        Self { address, seen, _accepting: accepting }
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The servers, `host:port`, to which tunnels were asked for so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, seen: Arc<Mutex<Vec<String>>>) {
    let mut tunnels = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        tunnels.spawn(tunnel(client, target, Arc::clone(&seen)));
    }
}

/// Opens one tunnel. What goes wrong is seen by the client, whose connection ends.
async fn tunnel(mut client: TcpStream, target: SocketAddr, seen: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_LEN_MAX {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, to) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method != "CONNECT" {
        let _ = client.write_all(b"HTTP/1.1 501 Not Implemented\r\n\r\n").await;
        return;
    }
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(to.to_owned());
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    if client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
