//! HTTP/2 frames, for what a client library does not do (RFC 9113 §4.1, §6): flow control windows of
//! choice, frames that are never sent or never read, single resets.

use std::collections::{HashMap, VecDeque};
use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::dial::Dialer;

/// Frame type of DATA.
pub const DATA: u8 = 0;
/// Frame type of HEADERS.
pub const HEADERS: u8 = 1;
/// Frame type of `RST_STREAM`.
pub const RST_STREAM: u8 = 3;
/// Frame type of SETTINGS.
pub const SETTINGS: u8 = 4;
/// Frame type of PING.
pub const PING: u8 = 6;
/// Frame type of GOAWAY.
pub const GOAWAY: u8 = 7;
/// Frame type of `WINDOW_UPDATE`.
pub const WINDOW_UPDATE: u8 = 8;

/// Error code of a stream that was not processed at all.
pub const REFUSED_STREAM: u32 = 7;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const HEADER_TABLE_SIZE: u16 = 1;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Both windows before SETTINGS and `WINDOW_UPDATE` (RFC 9113 §6.9.2).
const WINDOW: i64 = 65_535;
const FRAME_HEAD_LEN: usize = 9;
/// The longest payload that a peer takes unless its SETTINGS say otherwise.
const PAYLOAD_MAX: usize = 16_384;

/// An h2 connection, frame by frame.
#[derive(Debug)]
pub struct Frames {
    stream: TlsStream<TcpStream>,
    received: BytesMut,
    /// Frames that came while others were sent.
    queued: VecDeque<Frame>,
    next_stream: u32,
    window: i64,
    initial_window: i64,
    /// What may be sent on streams, beyond what `initial_window` allows.
    windows: HashMap<u32, i64>,
}

/// A frame.
#[derive(Debug)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// Its payload.
    pub payload: Bytes,
}

impl Frames {
    /// Connects and sends the connection preface.
    pub async fn open(dialer: &Dialer) -> io::Result<Self> {
        Self::open_with(dialer, &[]).await
    }

    /// Connects with an initial window of so many bytes for each stream.
    pub async fn open_with_window(dialer: &Dialer, bytes: u32) -> io::Result<Self> {
        Self::open_with(dialer, &[(INITIAL_WINDOW_SIZE, bytes)]).await
    }

    async fn open_with(dialer: &Dialer, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut frames = Self {
            stream: dialer.tls().await?,
            received: BytesMut::new(),
            queued: VecDeque::new(),
            next_stream: 1,
            window: WINDOW,
            initial_window: WINDOW,
            windows: HashMap::new(),
        };
        frames.stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        // Without a table of headers every answer's status can be read by itself.
        let mut payload = Vec::new();
        for (id, value) in [(HEADER_TABLE_SIZE, 0)].iter().chain(settings) {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        frames.send(SETTINGS, 0, 0, &payload).await?;
        Ok(frames)
    }

    /// The next frame that does not acknowledge SETTINGS; an error when the connection ended. SETTINGS
    /// and PING are acknowledged. Nothing is lost when this is cancelled before it has a frame.
    pub async fn next(&mut self) -> io::Result<Frame> {
        match self.queued.pop_front() {
            Some(frame) => Ok(frame),
            None => self.receive().await,
        }
    }

    /// The next frame of a type, passing over others.
    pub async fn find(&mut self, kind: u8) -> io::Result<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Ok(frame);
            }
        }
    }

    /// Sends the head of a request and gives its stream. `ends` says that there is no body.
    pub async fn request(&mut self, method: &str, path: &str, ends: bool) -> io::Result<u32> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut block = Vec::new();
        for (name, value) in [
            (":method", method),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
        ] {
            // A literal that no table keeps, with its name (RFC 7541 §6.2.2).
            block.push(0);
            literal(&mut block, name);
            literal(&mut block, value);
        }
        let flags = if ends { END_HEADERS | END_STREAM } else { END_HEADERS };
        self.send(HEADERS, flags, stream, &block).await?;
        Ok(stream)
    }

    /// Sends a body or a part of it as the server's windows allow, receiving frames meanwhile.
    pub async fn body(&mut self, stream: u32, mut bytes: &[u8], ends: bool) -> io::Result<()> {
        loop {
            let own = self.windows.get(&stream).copied().unwrap_or_default() + self.initial_window;
            let allowed = usize::try_from(own.min(self.window)).unwrap_or_default();
            let (part, rest) = bytes.split_at(bytes.len().min(allowed).min(PAYLOAD_MAX));
            let is_last = rest.is_empty();
            if part.is_empty() && !is_last {
                let frame = self.receive().await?;
                self.queued.push_back(frame);
                continue;
            }
            let flags = if is_last && ends { END_STREAM } else { 0 };
            self.send(DATA, flags, stream, part).await?;
            let sent = i64::try_from(part.len()).unwrap_or(i64::MAX);
            self.window -= sent;
            *self.windows.entry(stream).or_default() -= sent;
            bytes = rest;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Takes so many more bytes on a stream, or on the connection for 0.
    pub async fn widen(&mut self, stream: u32, bytes: u32) -> io::Result<()> {
        self.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()).await
    }

    /// Asks for an acknowledgement, a PING as well.
    pub async fn ping(&mut self) -> io::Result<()> {
        self.send(PING, 0, 0, b"are you?").await
    }

    /// Resets a stream with CANCEL.
    pub async fn reset(&mut self, stream: u32) -> io::Result<()> {
        self.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await
    }

    /// Announces the end of the connection.
    pub async fn goaway(&mut self) -> io::Result<()> {
        self.send(GOAWAY, 0, 0, &[0; 8]).await
    }

    async fn receive(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.parse();
            let Some(frame) = frame else {
                if self.stream.read_buf(&mut self.received).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            };
            let is_ack = frame.flags & ACK != 0;
            match frame.kind {
                SETTINGS if is_ack => continue,
                SETTINGS => {
                    if let Some(bytes) = frame.setting(INITIAL_WINDOW_SIZE) {
                        self.initial_window = bytes.into();
                    }
                    self.send(SETTINGS, ACK, 0, &[]).await?;
                }
                PING if !is_ack => self.send(PING, ACK, 0, &frame.payload).await?,
                WINDOW_UPDATE => {
                    let more = i64::from(frame.number(0).unwrap_or_default());
                    if frame.stream == 0 {
                        self.window += more;
                    } else {
                        *self.windows.entry(frame.stream).or_default() += more;
                    }
                }
                _ => {}
            }
            return Ok(frame);
        }
    }

    /// Takes a frame off what was received, if it is all there.
    fn parse(&mut self) -> Option<Frame> {
        let head = self.received.get(..FRAME_HEAD_LEN)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        if self.received.len() < FRAME_HEAD_LEN + length {
            return None;
        }
        self.received.advance(FRAME_HEAD_LEN);
        let payload = self.received.split_to(length).freeze();
        Some(Frame { kind, flags, stream, payload })
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }
}

impl Frame {
    /// In SETTINGS: how many streams the server takes at once, `None` when it sets no limit.
    pub fn max_concurrent_streams(&self) -> Option<u32> {
        self.setting(MAX_CONCURRENT_STREAMS)
    }

    /// In GOAWAY and `RST_STREAM`: the error code, 0 when all is well.
    pub fn error_code(&self) -> Option<u32> {
        self.number(if self.kind == GOAWAY { 4 } else { 0 })
    }

    /// Whether it is the last one of its stream that the server sends.
    pub fn ends_stream(&self) -> bool {
        match self.kind {
            DATA | HEADERS => self.flags & END_STREAM != 0,
            kind => kind == RST_STREAM,
        }
    }

    /// In HEADERS of an answer: the status, which comes first.
    pub fn status(&self) -> Option<u16> {
        // Changes of the table's size go before.
        let start = self.payload.iter().position(|byte| byte & 0xe0 != 0x20)?;
        let block = &self.payload[start..];
        match block.first()? {
            0x88 => Some(200),
            0x89 => Some(204),
            0x8a => Some(206),
            0x8b => Some(304),
            0x8c => Some(400),
            0x8d => Some(404),
            0x8e => Some(500),
            // A literal whose name is `:status`.
            0x08 | 0x18 | 0x48 => {
                let length = usize::from(block.get(1)? & 0x7f);
                let value = block.get(2..2 + length)?;
                if block[1] & 0x80 == 0 {
                    str::from_utf8(value).ok()?.parse().ok()
                } else {
                    digits(value)
                }
            }
            _ => None,
        }
    }

    fn setting(&self, wanted: u16) -> Option<u32> {
        self.payload.chunks_exact(6).find_map(|entry| {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            (id == wanted).then_some(value)
        })
    }

    fn number(&self, at: usize) -> Option<u32> {
        let bytes = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    }
}

/// A string without compression (RFC 7541 §5.2).
fn literal(block: &mut Vec<u8>, text: &str) {
    let mut length = text.len();
    if length < 0x7f {
        block.push(u8::try_from(length).unwrap_or_default());
    } else {
        block.push(0x7f);
        length -= 0x7f;
        while length >= 0x80 {
            block.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        block.push(u8::try_from(length).unwrap_or_default());
    }
    block.extend_from_slice(text.as_bytes());
}

/// The number behind three compressed digits (RFC 7541 appendix B): `0` to `2` have five bits, the
/// others six.
fn digits(value: &[u8]) -> Option<u16> {
    let bits: Vec<u16> = value
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| u16::from(byte >> at & 1)))
        .collect();
    let take = |from: usize, count: usize| {
        let bits = bits.get(from..from + count)?;
        Some(bits.iter().fold(0, |number, bit| number << 1 | bit))
    };
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let short = take(at, 5)?;
        let digit = if short <= 2 {
            at += 5;
            short
        } else {
            at += 6;
            // `3` is 011001.
            take(at - 6, 6)?.checked_sub(0b01_1001)? + 3
        };
        number = number * 10 + digit;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_each_form() {
        let status = |payload: &'static [u8]| {
            let payload = Bytes::from_static(payload);
            Frame { kind: HEADERS, flags: 0, stream: 1, payload }.status()
        };
        assert_eq!(status(&[0x88]), Some(200));
        assert_eq!(status(&[0x20, 0x8d]), Some(404));
        assert_eq!(status(b"\x08\x03408"), Some(408));
        // RFC 7541 C.4 and C.6: 302 is 6402.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        // RFC 7541 C.6.2: 307 is 640eff.
        assert_eq!(status(&[0x48, 0x83, 0x64, 0x0e, 0xff]), Some(307));
    }
}
