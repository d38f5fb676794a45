//! A load that opens and closes connections as fast as possible.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use kes_harness::{Credential, Dialer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Load;

/// How long a connection that stays does so, unless the server ends it before.
const STAY: Duration = Duration::from_secs(3);

/// Addresses of [`Source::Many`].
const SOURCES: usize = 200;

/// How far a connection goes.
#[derive(Clone, Debug)]
pub(crate) enum How {
    /// It sends nothing.
    Nothing,
    /// It sends the first half of a `ClientHello`.
    HalfHello,
    /// It sends a `ClientHello`.
    Hello,
    /// It completes the handshake, with this certificate.
    Handshake(Credential),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leave {
    /// It is closed at once.
    Close,
    /// It is reset at once.
    Reset,
    /// It stays for some seconds.
    Stay,
}

/// Where connections come from; the legitimate client comes from 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// From the address of the legitimate client.
    Same,
    /// From one other address.
    Other,
    /// From many other addresses.
    Many,
}

impl Source {
    /// The address of a worker's connections.
    pub(crate) fn address(self, worker: usize) -> IpAddr {
        let last = |number: usize| u8::try_from(number).unwrap_or(1);
        IpAddr::V4(match self {
            Self::Same => Ipv4Addr::LOCALHOST,
            Self::Other => Ipv4Addr::new(127, 0, 0, 2),
            Self::Many => Ipv4Addr::new(127, 0, 1, last(worker % SOURCES + 1)),
        })
    }
}

/// Starts a storm of so many connections at a time.
pub(crate) fn start(
    dialer: &Dialer,
    how: &How,
    leave: Leave,
    source: Source,
    width: usize,
) -> Load {
    let mut dialer = dialer.clone();
    if let How::Handshake(credential) = how {
        dialer = dialer.show(credential);
    }
    let hello: Arc<[u8]> = match how {
        How::Nothing | How::Handshake(_) => Vec::new(),
        How::HalfHello => {
            let mut hello = dialer.hello();
            hello.truncate(hello.len() / 2);
            hello
        }
        How::Hello => dialer.hello(),
    }
    .into();
    let has_handshake = matches!(how, How::Handshake(_));
    Load::start(width, move |worker, counters| {
        let dialer = dialer.clone().from(source.address(worker));
        let hello = Arc::clone(&hello);
        async move {
            let outcome = if has_handshake {
                handshake(&dialer).await
            } else {
                send_hello(&dialer, &hello).await
            };
            match outcome {
                Ok(stream) => {
                    counters.count("connected");
                    left(stream, leave).await;
                }
                Err(_) => counters.count("failed"),
            }
        }
    })
}

/// Connects and sends these bytes.
async fn send_hello(dialer: &Dialer, hello: &[u8]) -> io::Result<TcpStream> {
    let mut stream = dialer.tcp().await?;
    stream.write_all(hello).await?;
    Ok(stream)
}

/// Connects and completes the handshake.
async fn handshake(dialer: &Dialer) -> io::Result<TcpStream> {
    Ok(dialer.tls().await?.into_inner().0)
}

async fn left(mut stream: TcpStream, leave: Leave) {
    if matches!(leave, Leave::Stay) {
        let mut received = [0; 4096];
        let ended = async { while !matches!(stream.read(&mut received).await, Ok(0) | Err(_)) {} };
        // Whether the server ended it does not matter.
        let _ = timeout(STAY, ended).await;
    }
    if !matches!(leave, Leave::Close) {
        // With this, closing it sends a reset.
        let _ = stream.set_zero_linger();
    }
}

/// A name of a storm, for what is printed.
pub(crate) fn name(how: &How, leave: Leave, source: Source) -> String {
    let how = match how {
        How::Nothing => "nothing",
        How::HalfHello => "half a ClientHello",
        How::Hello => "a ClientHello",
        How::Handshake(_) => "a whole handshake",
    };
    format!("{how}, {leave:?}, from {source:?}")
}
