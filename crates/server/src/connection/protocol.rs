//! Detects whether a connection begins with TLS, with plain HTTP, or with something else.
//!
//! A client that sends HTTP without TLS gets a response that says so, as from Go's server.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{self, PollFd, PollFlags, Timespec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many bytes are inspected.
const PREFIX_LEN: usize = 8;

/// How many bytes of a refused request are read and discarded, and for how long: otherwise a client that is
/// still sending would not receive the response.
const DISCARD_MAX: u64 = 64 << 10;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The response to plain HTTP, the same as that of Go's server.
const RESPONSE_HEAD: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\n";
const RESPONSE_BODY: &[u8] = b"Client sent an HTTP request to an HTTPS server.\n";

/// The protocol with which a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// None: the connection ended without a byte, as those of health checks do.
    Nothing,
    /// Possibly TLS.
    Tls,
    /// Plain HTTP.
    Http { is_head: bool },
    /// Another text protocol.
    Other,
}

impl Protocol {
    /// Waits for the first bytes and peeks at them, without consuming them.
    pub(crate) async fn of(stream: &TcpStream) -> Self {
        let mut prefix = [0; PREFIX_LEN];
        match stream.peek(&mut prefix).await {
            // A client that has reset its connection counts as one that sent nothing.
            Ok(0) | Err(_) => Self::Nothing,
            Ok(len) => Self::classify(prefix.get(..len).unwrap_or_default()),
        }
    }

    /// Classifies the first bytes: an HTTP method begins with a letter, and a TLS record never does.
    fn classify(prefix: &[u8]) -> Self {
        match prefix {
            [] => Self::Nothing,
            [first, ..] if !first.is_ascii_alphabetic() => Self::Tls,
            prefix if prefix.starts_with(b"PROXY ") || prefix.starts_with(b"SSH-") => Self::Other,
            prefix => Self::Http { is_head: prefix.starts_with(b"HEAD ") },
        }
    }
}

/// Returns whether the client has disconnected, so that it cannot finish a handshake any more.
pub(crate) fn has_disconnected(stream: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let disconnected = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    match event::poll(&mut polled, Some(&now)) {
        Ok(_) => polled.iter().any(|fd| fd.revents().intersects(disconnected)),
        Err(_) => false,
    }
}

/// Sends a client that uses plain HTTP the response that it has to use HTTPS, then closes.
pub(crate) async fn respond_http(stream: TcpStream, is_head: bool) {
    // If the client has disconnected, the response is lost without consequences.
    let _: io::Result<()> = respond(stream, is_head).await;
}

async fn respond(mut stream: TcpStream, is_head: bool) -> io::Result<()> {
    stream.write_all(RESPONSE_HEAD).await?;
    if !is_head {
        stream.write_all(RESPONSE_BODY).await?;
    }
    stream.shutdown().await?;
    let (mut unread, mut sink) = (stream.take(DISCARD_MAX), tokio::io::sink());
    let discard = tokio::io::copy(&mut unread, &mut sink);
    match tokio::time::timeout(DISCARD_TIMEOUT, discard).await {
        Ok(discarded) => discarded.map(drop),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_methods_are_distinguished_from_tls() {
        for prefix in
            ["GET / HT", "POST /v1", "PUT", "DELETE /", "OPTIONS ", "P", "PRI * HT", "get /"]
        {
            let protocol = Protocol::classify(prefix.as_bytes());
            assert_eq!(protocol, Protocol::Http { is_head: false }, "{prefix}");
        }
        assert_eq!(Protocol::classify(b"HEAD / H"), Protocol::Http { is_head: true });
        for prefix in ["PROXY TC", "SSH-2.0-"] {
            assert_eq!(Protocol::classify(prefix.as_bytes()), Protocol::Other, "{prefix}");
        }
        for prefix in [&[0x16, 3, 1][..], &[0x80, 0x2e], b"\r\n\r\n\0\r\nQ", &[0]] {
            assert_eq!(Protocol::classify(prefix), Protocol::Tls, "{prefix:?}");
        }
        assert_eq!(Protocol::classify(b""), Protocol::Nothing);
    }

    #[test]
    fn the_response_has_the_length_of_its_header() {
        let head = String::from_utf8_lossy(RESPONSE_HEAD);
        let length = format!("Content-Length: {}\r\n", RESPONSE_BODY.len());
        assert!(head.contains(&length), "{head}");
    }
}
