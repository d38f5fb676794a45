//! Whether a connection is doing anything, and the time it may take to say what it wants.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// The requests of one connection: how many are under way, and when the last one ended.
#[derive(Debug)]
pub(crate) struct Activity {
    begun: Instant,
    in_flight: AtomicUsize,
    /// Endless answers: they keep a connection from being idle, but do not hold up a stop.
    streams: AtomicUsize,
    /// Milliseconds from `begun` to the last request's end.
    last_end: AtomicU64,
    /// Bytes came that are part of a request's head.
    is_head_pending: AtomicBool,
}

/// A request under way; dropped when its answer was sent, or given up.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    is_stream: bool,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            in_flight: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            last_end: AtomicU64::new(0),
            is_head_pending: AtomicBool::new(false),
        })
    }

    /// Begins a request: its head has come.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.is_head_pending.store(false, Ordering::Release);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight { activity: Arc::clone(self), is_stream: false }
    }

    /// Returns once there was neither a request nor a stream for `limit`.
    pub(crate) async fn idle_for(&self, limit: Duration) {
        self.quiet_for(limit, |activity| activity.streams.load(Ordering::Acquire)).await;
    }

    /// Returns once there was no request for `limit`, whatever streams there are.
    pub(crate) async fn answered_for(&self, limit: Duration) {
        self.quiet_for(limit, |_| 0).await;
    }

    async fn quiet_for(&self, limit: Duration, streams: impl Fn(&Self) -> usize) {
        loop {
            let now = Instant::now();
            let wake = if self.in_flight.load(Ordering::Acquire) + streams(self) > 0 {
                now + limit
            } else {
                let last_end = Duration::from_millis(self.last_end.load(Ordering::Acquire));
                self.begun + last_end + limit
            };
            if wake <= now {
                return;
            }
            tokio::time::sleep_until(wake).await;
        }
    }
}

impl InFlight {
    /// The answer has no end of its own.
    pub(crate) fn into_stream(mut self) -> Self {
        if !std::mem::replace(&mut self.is_stream, true) {
            self.activity.streams.fetch_add(1, Ordering::AcqRel);
            self.activity.in_flight.fetch_sub(1, Ordering::AcqRel);
        }
        self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let since = self.activity.begun.elapsed().as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.activity.last_end.fetch_max(since, Ordering::AcqRel);
        let counter =
            if self.is_stream { &self.activity.streams } else { &self.activity.in_flight };
        counter.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The bytes of an HTTP/1.1 connection; reading fails when a request's head takes too long from
/// its first byte on. Waiting for that first byte is the idle limit's business.
#[derive(Debug)]
pub(crate) struct HeadTimeout<S> {
    stream: S,
    activity: Arc<Activity>,
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> HeadTimeout<S> {
    pub(crate) fn new(stream: S, activity: Arc<Activity>, timeout: Duration) -> Self {
        Self { stream, activity, timeout, deadline: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            let is_idle = self.activity.in_flight.load(Ordering::Acquire) == 0;
            if buf.filled().len() > filled && is_idle {
                self.activity.is_head_pending.store(true, Ordering::Release);
            }
            return read;
        }
        if !self.activity.is_head_pending.load(Ordering::Acquire) {
            self.deadline = None;
            return Poll::Pending;
        }
        let timeout = self.timeout;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTimeout<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
