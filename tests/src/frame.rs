//! HTTP/2 frames, for what a client library does not show (RFC 9113 §4.1, §6).

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::dial::Dialer;

/// Frame type of SETTINGS.
pub const SETTINGS: u8 = 4;
/// Frame type of GOAWAY.
pub const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const MAX_CONCURRENT_STREAMS: u16 = 3;

/// An h2 connection, frame by frame.
#[derive(Debug)]
pub struct Frames(TlsStream<TcpStream>);

/// A frame.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// What is in it.
    pub payload: Vec<u8>,
}

impl Frames {
    /// Connects and sends the connection preface.
    pub async fn open(dialer: &Dialer) -> io::Result<Self> {
        let mut stream = dialer.tls().await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        let mut frames = Self(stream);
        frames.send(SETTINGS, 0).await?;
        Ok(frames)
    }

    /// The next frame that is not an acknowledgement; an error when the connection ended.
    pub async fn next(&mut self) -> io::Result<Frame> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await?;
            let frame = Frame { kind: head[3], flags: head[4], payload };
            if frame.kind != SETTINGS || frame.flags & ACK == 0 {
                return Ok(frame);
            }
        }
    }

    /// The next frame of a type, passing over others; SETTINGS are acknowledged.
    pub async fn find(&mut self, kind: u8) -> io::Result<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == SETTINGS {
                self.send(SETTINGS, ACK).await?;
            }
            if frame.kind == kind {
                return Ok(frame);
            }
        }
    }

    /// Sends a frame without payload on stream 0.
    async fn send(&mut self, kind: u8, flags: u8) -> io::Result<()> {
        self.0.write_all(&[0, 0, 0, kind, flags, 0, 0, 0, 0]).await?;
        self.0.flush().await
    }
}

impl Frame {
    /// In SETTINGS: how many streams the server takes at once, `None` when it sets no limit.
    pub fn max_concurrent_streams(&self) -> Option<u32> {
        self.payload.chunks_exact(6).find_map(|entry| {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            (id == MAX_CONCURRENT_STREAMS).then_some(value)
        })
    }

    /// In GOAWAY: the error code, 0 when all is well.
    pub fn error_code(&self) -> Option<u32> {
        let code = self.payload.get(4..8)?;
        Some(u32::from_be_bytes(code.try_into().ok()?))
    }
}
