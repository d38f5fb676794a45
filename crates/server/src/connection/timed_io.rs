//! Limits the time that a client may take to send a request head and to read responses.
//!
//! This protects the server from slowloris clients, which hold connections and memory by trickling bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::connection::activity::Activity;
use crate::http::head;

/// The time limits of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoTimes {
    /// The longest time from the first byte of a request's head to its last; `None` for h2, where requests
    /// share the connection.
    pub(crate) head: Option<Duration>,
    /// The longest time in which the client reads no byte.
    pub(crate) write: Duration,
    /// The least rate after that time, in bytes per second.
    pub(crate) write_rate: usize,
}

/// Fails reads and writes of a stream when its client takes too long. The time before the first byte of a
/// head is limited by the idle timeout.
#[derive(Debug)]
pub(crate) struct TimedIo<S> {
    stream: S,
    activity: Arc<Activity>,
    times: IoTimes,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Stall>,
    refusal: Option<Box<Refusal>>,
}

/// Replaces an error response that hyper generates by one with a body. Bytes that the client still sends are
/// read and discarded for a while before the connection is closed, so that it receives the response.
#[derive(Debug)]
struct Refusal {
    bytes: Vec<u8>,
    written: usize,
    discarded: usize,
    is_shut: bool,
    timer: Pin<Box<Sleep>>,
}

/// How many bytes are discarded after a refusal, and for how long.
const DISCARD_MAX: usize = 1 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Limits the time of a write that waits for the client.
#[derive(Debug)]
struct Stall {
    begun: Instant,
    /// Bytes that the client has read since then.
    taken: u64,
    timer: Pin<Box<Sleep>>,
}

impl<S> TimedIo<S> {
    pub(crate) fn new(stream: S, activity: Arc<Activity>, times: IoTimes) -> Self {
        Self { stream, activity, times, head: None, stall: None, refusal: None }
    }

    /// Passes on the result of a write, or a timeout error if the write was pending for too long.
    fn within_time<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        count: impl FnOnce(&T) -> Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match &written {
            Poll::Ready(Ok(done)) => match (&mut self.stall, count(done)) {
                (Some(stall), Some(taken)) => stall.extend(taken, self.times),
                // All bytes were flushed. On HTTP/1.1 the rate applies to a response as a whole.
                (stall, None) if self.times.head.is_none() || !self.activity.is_sending() => {
                    *stall = None;
                }
                (_, None) | (None, Some(_)) => {}
            },
            Poll::Ready(Err(_)) => {}
            // A subscriber of a log stream may stop reading for any time; it misses lines.
            Poll::Pending if self.activity.has_streams() => self.stall = None,
            Poll::Pending => {
                let times = self.times;
                let stall = self.stall.get_or_insert_with(|| Stall::new(times));
                if stall.timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        written
    }
}

impl Stall {
    fn new(times: IoTimes) -> Self {
        let begun = Instant::now();
        Self { begun, taken: 0, timer: Box::pin(tokio::time::sleep_until(begun + times.write)) }
    }

    /// Extends the time after the client has read bytes, as far as the rate allows.
    fn extend(&mut self, bytes: usize, times: IoTimes) {
        self.taken += bytes as u64;
        let rate = u64::try_from(times.write_rate).unwrap_or(u64::MAX).max(1);
        let earned = Duration::from_millis(self.taken.saturating_mul(1000) / rate);
        let by_rate = self.begun + times.write + earned;
        self.timer.as_mut().reset(by_rate.min(Instant::now() + times.write));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TimedIo<S> {
    /// Writes the bytes of hyper, or a refusal instead of an error response without a body.
    fn poll_write_head(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        // On h2 there are no such responses.
        if self.refusal.is_none() && self.times.head.is_some() {
            self.refusal = head::with_body(buf).map(|bytes| {
                let timer = Box::pin(tokio::time::sleep(DISCARD_TIMEOUT));
                Box::new(Refusal { bytes, written: 0, discarded: 0, is_shut: false, timer })
            });
        }
        let Some(refusal) = &mut self.refusal else {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        };
        while let Some(unwritten) =
            refusal.bytes.get(refusal.written..).filter(|bytes| !bytes.is_empty())
        {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, unwritten))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => refusal.written += written,
            }
        }
        Poll::Ready(Ok(buf.len()))
    }

    /// Closes the writing side, then discards the bytes that a refused client still sends.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(refusal) = &mut self.refusal else {
            return Pin::new(&mut self.stream).poll_shutdown(cx);
        };
        if !refusal.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            refusal.is_shut = true;
        }
        let mut scratch = [0; 4096];
        while refusal.discarded < DISCARD_MAX && refusal.timer.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => refusal.discarded += buffer.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some(timeout) = self.times.head else { return read };
        if read.is_ready() {
            if buf.filled().len() > filled {
                self.activity.bytes_arrived();
            }
            return read;
        }
        if !self.activity.is_head_pending() {
            self.head = None;
            return Poll::Pending;
        }
        let timer = self.head.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TimedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.poll_write_head(cx, buf);
        self.within_time(written, |taken| Some(*taken), cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.within_time(flushed, |()| None, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.poll_close(cx);
        self.within_time(shut, |()| None, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match bufs {
            // Error responses that hyper generates have one part.
            [buf] => self.poll_write_head(cx, buf),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
        self.within_time(written, |taken| Some(*taken), cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const TIMES: IoTimes =
        IoTimes { head: None, write: Duration::from_secs(15), write_rate: 16 << 10 };

    fn pair(
        activity: &Arc<Activity>,
    ) -> (TimedIo<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (server, client) = tokio::io::duplex(1024);
        (TimedIo::new(server, Arc::clone(activity), TIMES), client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_ends_the_connection() {
        let activity = Activity::new(TIMES.write);
        let (mut server, _client) = pair(&activity);
        let begun = Instant::now();
        let error = server.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), TIMES.write);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_one_byte_per_second_is_too_slow() {
        let activity = Activity::new(TIMES.write);
        let (mut server, mut client) = pair(&activity);
        let trickle = async {
            loop {
                client.read_u8().await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let begun = Instant::now();
        tokio::select! {
            written = server.write_all(&[0; 4096]) => {
                assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
            () = trickle => {}
        }
        assert!(begun.elapsed() < TIMES.write + Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_above_the_least_rate_reads_everything() {
        let activity = Activity::new(TIMES.write);
        let (mut server, mut client) = pair(&activity);
        let read = async {
            let mut taken = 0;
            let mut buffer = [0; 1024];
            while taken < 1 << 20 {
                taken += client.read(&mut buffer).await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let data = vec![0; 1 << 20];
        let (written, ()) = tokio::join!(server.write_all(&data), read);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_applies_to_a_response_of_http_1_1_as_a_whole() {
        let activity = Activity::new(TIMES.write);
        let _response = activity.begin().into_sending(true, Instant::now());
        let (server, mut client) = tokio::io::duplex(1024);
        let times = IoTimes { head: Some(Duration::from_secs(5)), ..TIMES };
        let mut server = TimedIo::new(server, Arc::clone(&activity), times);
        let trickle = async {
            let mut buffer = [0; 1024];
            loop {
                client.read_exact(&mut buffer).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let pieces = async {
            loop {
                server.write_all(&[0; 2048]).await?;
                server.flush().await?;
            }
        };
        let begun = Instant::now();
        tokio::select! {
            written = pieces => {
                let written: io::Result<()> = written;
                assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
            () = trickle => {}
        }
        assert!(begun.elapsed() < TIMES.write * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_of_a_log_stream_may_stop_reading() {
        let activity = Activity::new(TIMES.write);
        let _stream = activity.begin().into_stream();
        let (mut server, _client) = pair(&activity);
        let written = tokio::time::timeout(TIMES.write * 10, server.write_all(&[0; 4096])).await;
        assert!(written.is_err());
    }
}
