//! Detects by its first bytes whether a connection begins with TLS, with plain HTTP, or with neither.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{self, PollFd, PollFlags, Timespec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bytes that are looked at.
const PREFIX_LEN: usize = 8;

/// How much of a request that was refused is read, and for how long: a client that is still
/// sending would otherwise lose the answer.
const DISCARD_MAX: u64 = 64 << 10;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The answer to HTTP on a port for HTTPS, as Go's server gives it.
const ANSWER_HEAD: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 48\r\nConnection: close\r\n\r\n";
const ANSWER_BODY: &[u8] = b"Client sent an HTTP request to an HTTPS server.\n";

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Nothing: it ended without a byte, as connections of health checks do.
    Nothing,
    /// What may be TLS.
    Tls,
    /// A method of HTTP.
    Http { is_head: bool },
    /// A line of another protocol.
    Other,
}

impl Protocol {
    /// Waits for the first bytes; they stay to be read.
    pub(crate) async fn of(stream: &TcpStream) -> Self {
        let mut prefix = [0; PREFIX_LEN];
        match stream.peek(&mut prefix).await {
            // A client that resets its connection has sent nothing either.
            Ok(0) | Err(_) => Self::Nothing,
            Ok(len) => Self::classify(prefix.get(..len).unwrap_or_default()),
        }
    }

    /// No record of TLS begins with a letter, and every method of HTTP does.
    fn classify(prefix: &[u8]) -> Self {
        match prefix {
            [] => Self::Nothing,
            [first, ..] if !first.is_ascii_alphabetic() => Self::Tls,
            prefix if prefix.starts_with(b"PROXY ") || prefix.starts_with(b"SSH-") => Self::Other,
            prefix => Self::Http { is_head: prefix.starts_with(b"HEAD ") },
        }
    }
}

/// Whether a client has closed its end: it cannot finish a handshake any more.
pub(crate) fn has_left(stream: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    match event::poll(&mut polled, Some(&now)) {
        Ok(_) => polled.iter().any(|fd| fd.revents().intersects(gone)),
        Err(_) => false,
    }
}

/// Tells a client that speaks HTTP to use HTTPS, then closes.
pub(crate) async fn answer_http(stream: TcpStream, is_head: bool) {
    // Whether the client gets the answer is its own business.
    let _: io::Result<()> = answer(stream, is_head).await;
}

async fn answer(mut stream: TcpStream, is_head: bool) -> io::Result<()> {
    stream.write_all(ANSWER_HEAD).await?;
    if !is_head {
        stream.write_all(ANSWER_BODY).await?;
    }
    stream.shutdown().await?;
    let (mut rest, mut nowhere) = (stream.take(DISCARD_MAX), tokio::io::sink());
    let discard = tokio::io::copy(&mut rest, &mut nowhere);
    match tokio::time::timeout(DISCARD_TIMEOUT, discard).await {
        Ok(discarded) => discarded.map(drop),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_http_are_reported_from_tls() {
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
    fn the_answer_has_the_length_that_it_says() {
        let head = String::from_utf8_lossy(ANSWER_HEAD);
        let length = format!("Content-Length: {}\r\n", ANSWER_BODY.len());
        assert!(head.contains(&length), "{head}");
    }
}
