//! A load that sends requests and does not read the answers.

use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use kes_harness::frame::{Frames, GOAWAY, HEADERS, REFUSED_STREAM, RST_STREAM};
use kes_harness::{Dialer, Proto, Tls};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{interval, timeout};

use super::{Counters, Load};

/// What the kernel keeps for a peer that does not read its socket.
const RECEIVE_BUFFER: u32 = 4096;

/// How often a slow peer takes a byte.
const TRICKLE: Duration = Duration::from_secs(1);

/// How long writing may take until the server counts as taking no more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// What is asked, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The method.
    pub(crate) method: &'static str,
    /// The path.
    pub(crate) path: String,
    /// The body, empty for none.
    pub(crate) body: String,
    /// How often on each connection, at once.
    pub(crate) times: usize,
}

/// How answers are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untaken {
    /// h2 with an initial window of 0.
    NoWindow,
    /// h2 with an initial window of 1 that is never widened.
    WindowOfOne,
    /// h2 with an initial window of 0 that is widened by a byte a second, stream by stream.
    Trickle,
    /// h2 with large windows whose socket is not read.
    UnreadH2,
    /// HTTP/1.1 whose socket is not read, one request after another without waiting.
    UnreadH1,
}

/// Every variant of not reading an answer but the one that reads a little.
pub(crate) const UNTAKEN: [Untaken; 4] =
    [Untaken::NoWindow, Untaken::WindowOfOne, Untaken::UnreadH2, Untaken::UnreadH1];

/// Starts so many connections that ask and do not take the answers. Each counts `asking` when all
/// is sent that the server takes, `reset` for a stream that the server resets, and `ended` when the
/// server ends the connection; then it does nothing more. Those that read nothing see neither. A
/// connection that is refused before it asks is tried again.
pub(crate) fn start(
    dialer: &Dialer,
    ask: &Ask,
    untaken: Untaken,
    source: IpAddr,
    connections: usize,
) -> Load {
    let (dialer, ask) = (dialer.clone().from(source), ask.clone());
    Load::start(connections, move |_, counters| {
        let (dialer, ask) = (dialer.clone(), ask.clone());
        async move {
            match peer(&dialer, &ask, untaken, &counters).await {
                Ok(()) => {
                    counters.count("ended");
                    pending::<()>().await;
                }
                // It was refused before it asked, and is tried again.
                Err(_) => counters.count("failed"),
            }
        }
    })
}

async fn peer(dialer: &Dialer, ask: &Ask, untaken: Untaken, counters: &Counters) -> io::Result<()> {
    match untaken {
        Untaken::NoWindow => windowed(dialer, ask, 0, counters).await,
        Untaken::WindowOfOne => windowed(dialer, ask, 1, counters).await,
        Untaken::Trickle => trickling(dialer, ask, counters).await,
        Untaken::UnreadH2 => unread_h2(dialer, ask, counters).await,
        Untaken::UnreadH1 => unread_h1(dialer, ask, counters).await,
    }
}

/// Sends the requests over h2, those that the server takes at all.
async fn asked(frames: &mut Frames, ask: &Ask) -> io::Result<Vec<u32>> {
    let mut streams = Vec::new();
    for _ in 0..ask.times {
        streams.push(frames.request(ask.method, &ask.path, ask.body.is_empty()).await?);
    }
    if !ask.body.is_empty() {
        for stream in &streams {
            let sent = frames.body(*stream, ask.body.as_bytes(), true);
            // A server that holds enough lets its window be.
            match timeout(WRITE_TIMEOUT, sent).await {
                Ok(sent) => sent?,
                Err(_) => break,
            }
        }
    }
    Ok(streams)
}

/// Receives frames until the connection ends.
async fn received(frames: &mut Frames, counters: &Counters) {
    while let Ok(frame) = frames.next().await {
        match frame.kind {
            HEADERS => counters.count(format!("status {}", frame.status().unwrap_or_default())),
            RST_STREAM if frame.error_code() == Some(REFUSED_STREAM) => counters.count("refused"),
            RST_STREAM => counters.count("reset"),
            GOAWAY => counters.count("goaway"),
            _ => {}
        }
    }
}

async fn windowed(dialer: &Dialer, ask: &Ask, window: u32, counters: &Counters) -> io::Result<()> {
    let mut frames = Frames::open_with_window(dialer, window).await?;
    // A server that ends the connection meanwhile is seen to do so below.
    let _ = asked(&mut frames, ask).await;
    counters.count("asking");
    received(&mut frames, counters).await;
    Ok(())
}

async fn trickling(dialer: &Dialer, ask: &Ask, counters: &Counters) -> io::Result<()> {
    let mut frames = Frames::open_with_window(dialer, 0).await?;
    let streams = asked(&mut frames, ask).await.unwrap_or_default();
    counters.count("asking");
    let mut ticks = interval(TRICKLE);
    for stream in streams.iter().cycle() {
        tokio::select! {
            () = received(&mut frames, counters) => break,
            _ = ticks.tick() => {}
        }
        if frames.widen(*stream, 1).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn unread_h2(dialer: &Dialer, ask: &Ask, counters: &Counters) -> io::Result<()> {
    let dialer = dialer.clone().receive_buffer(RECEIVE_BUFFER);
    let mut frames = Frames::open_with_window(&dialer, i32::MAX.cast_unsigned()).await?;
    frames.widen(0, i32::MAX.cast_unsigned() - 65_535).await?;
    // The server's windows are learned from what it sends, and nothing is read after that.
    let _ = timeout(WRITE_TIMEOUT, asked(&mut frames, ask)).await;
    counters.count("asking");
    pending().await
}

async fn unread_h1(dialer: &Dialer, ask: &Ask, counters: &Counters) -> io::Result<()> {
    let dialer = dialer.clone().over((Proto::H1, Tls::V13)).receive_buffer(RECEIVE_BUFFER);
    let mut stream = dialer.tls().await?;
    let length = ask.body.len();
    let head = format!(
        "{} {} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n",
        ask.method, ask.path
    );
    let asked = async {
        for _ in 0..ask.times {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(ask.body.as_bytes()).await?;
        }
        stream.flush().await
    };
    // A server that waits for its answers to be taken takes no more requests.
    let _ = timeout(WRITE_TIMEOUT, asked).await;
    counters.count("asking");
    pending().await
}
