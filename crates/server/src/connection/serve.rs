//! Serves one connection: the TLS handshake, then requests until the connection ends.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::{BoxError, Router};
use futures_util::future::{BoxFuture, OptionFuture};
use futures_util::poll;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::connection::activity::Activity;
use crate::connection::multiplex::{Multiplexed, NewStreams};
use crate::connection::peer::Peer;
use crate::connection::protocol::{self, Protocol};
use crate::connection::run_until::run_until_cancelled;
use crate::connection::socket::Wire;
use crate::connection::timed_io::{IoTimes, TimedIo};
use crate::connection::timed_stream::ResponseTimes;
use crate::http::head;
use crate::http::service::{ConnectionService, HttpBody};
use crate::limit::admission::{Slot, Verdict};
use crate::log::refusal::Refusal;
use crate::state::app::App;

/// The longest request head on h2, in bytes: a forwarded certificate fits in it.
const HEAD_LEN_MAX: u32 = 16 << 10;

/// The read buffer of an HTTP/1.1 connection, in bytes; limits the request head as well.
const READ_BUFFER_LEN: usize = head::HEAD_LEN_MAX;

/// Number of streams that a client reset before they were accepted; more end the connection.
const RESET_STREAMS_MAX: usize = 20;

/// Number of streams that the server reset because of errors; more end the connection.
const LOCAL_RESETS_MAX: usize = 1024;

/// The h2 flow-control windows of a stream and of a connection, in bytes. Streams that wait for memory must
/// not use up the window of the connection.
const STREAM_WINDOW: u32 = 32 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The flow-control windows for a peer without a policy; that of the connection is the least of HTTP/2.
const STREAM_WINDOW_MIN: u32 = 8 << 10;
const CONNECTION_WINDOW_MIN: u32 = (64 << 10) - 1;

/// The longest response in bytes, from which the time limit of a response is computed.
const RESPONSE_LEN_MAX: u64 = 2 << 20;

/// How long a closing connection stays open without a request.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves a connection until it ends.
pub(crate) async fn serve(
    app: Arc<App>,
    router: Router,
    stream: TcpStream,
    mut address: SocketAddr,
    mut slot: Slot,
) {
    address.set_ip(address.ip().to_canonical());
    let closed = slot.closed();
    let work = async {
        // Boxed, like all large futures: an idle connection then keeps only the memory that it needs.
        let tls = Box::pin(handshake(&app, stream, address, &slot)).await?;
        let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Peer::new(address, certificates, Arc::clone(&app.accounts), &app.budget);
        let snapshot = app.live.load();
        let identity = peer.known_identity(&snapshot);
        let is_admin =
            identity.is_some() && identity.as_ref() == snapshot.policies.admin().identity();
        drop(snapshot);
        let activity = Activity::new(app.limits.write_timeout);
        let verdict = slot.identify(identity, is_admin, &activity);
        if verdict == Verdict::Refused {
            let detail = identity.map(|identity| format!("identity {identity}"));
            app.refusals.note(address, &Refusal::too_many_connections(), detail.as_deref());
        }
        let open = Open { address, verdict, activity, closed: slot.closed() };
        Some((requests(&app, router, tls, peer, open), verdict))
    };
    let end = aborted(&app, address, Some(&closed));
    let Some(Some((requests, verdict))) = run_until_cancelled(pin!(end), pin!(work)).await else {
        return;
    };
    // A connection with the verdict `Served` is closed gracefully, with a token of its own.
    let closed = (verdict != Verdict::Served).then_some(closed);
    let end = aborted(&app, address, closed.as_ref());
    run_until_cancelled(pin!(end), pin!(requests)).await;
}

/// Returns when a connection has to end at once: to free its slot, or because the server stops.
async fn aborted(app: &App, address: SocketAddr, closed: Option<&CancellationToken>) {
    let closed = OptionFuture::from(closed.map(CancellationToken::cancelled));
    tokio::select! {
        Some(()) = closed => app.refusals.note(address, &Refusal::evicted(), None),
        () = app.stop.hard().cancelled() => {}
    }
}

/// The state of a connection after its handshake.
struct Open {
    address: SocketAddr,
    verdict: Verdict,
    activity: Arc<Activity>,
    /// Cancelled when the connection is closed for another one.
    closed: CancellationToken,
}

/// Performs the TLS handshake, within the handshake timeout and until shutdown begins.
async fn handshake(
    app: &App,
    stream: TcpStream,
    address: SocketAddr,
    slot: &Slot,
) -> Option<TlsStream<Wire>> {
    let handshake =
        tokio::time::timeout(app.limits.handshake_timeout, accept(app, stream, address, slot));
    let Ok(accepted) = app.stop.soft().run_until_cancelled(handshake).await? else {
        app.refusals.note(address, &Refusal::timed_out(), None);
        return None;
    };
    accepted
}

/// Performs the TLS handshake without a timeout. A refusal is logged before the client is notified.
async fn accept(
    app: &App,
    stream: TcpStream,
    address: SocketAddr,
    slot: &Slot,
) -> Option<TlsStream<Wire>> {
    let refuse = |refusal: Refusal| app.refusals.note(address, &refusal, None);
    match Protocol::of(&stream).await {
        Protocol::Tls => {
            let accepted = accept_tls(app, stream, slot).await;
            return accepted.map_err(|error| refuse(Refusal::of_handshake(&error))).ok();
        }
        Protocol::Http { is_head } => {
            refuse(Refusal::plain_http());
            protocol::respond_http(stream, is_head).await;
        }
        Protocol::Other => refuse(Refusal::not_tls()),
        Protocol::Nothing => tracing::debug!(peer = %address, "a connection ended without a byte"),
    }
    None
}

/// Reads the `ClientHello`, then runs the handshake within the limit of concurrent handshakes. Reading the
/// `ClientHello` is cheap and needs no permit.
async fn accept_tls(app: &App, stream: TcpStream, slot: &Slot) -> io::Result<TlsStream<Wire>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), Wire::from(stream)).await?;
    slot.hello_received();
    let config = Arc::clone(&app.live.load().tls);
    let begin = || {
        slot.slot_used();
        // In a burst most clients have disconnected before their handshake gets a permit.
        let has_disconnected = protocol::has_disconnected(&hello.io);
        (!has_disconnected).then(|| hello.into_stream(config))
    };
    let accepted = app.handshakes.run(slot.prefix(), begin).await;
    accepted.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))
}

fn requests(
    app: &Arc<App>,
    router: Router,
    tls: TlsStream<Wire>,
    peer: Peer,
    open: Open,
) -> BoxFuture<'_, ()> {
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let is_known = open.verdict == Verdict::Served;
    let (activity, limits) = (Arc::clone(&open.activity), &app.limits);
    let is_refused = open.verdict == Verdict::Refused;
    let service =
        ConnectionService::new(Arc::clone(app), router, peer, Arc::clone(&activity), is_refused);
    let service = service_fn(move |request| service.respond(request));
    let (write, write_rate) = (limits.write_timeout, limits.write_rate);
    // Streams share an h2 connection, so the connection has no time limit for a single head.
    let head = (!is_h2).then_some(limits.head_timeout);
    let times = IoTimes { head, write, write_rate };
    let io = TokioIo::new(TimedIo::new(tls, Arc::clone(&activity), times));
    if is_h2 {
        let streams = NewStreams::default();
        let (streams_max, window, connection_window) = if is_known {
            (limits.streams, STREAM_WINDOW, CONNECTION_WINDOW)
        } else {
            (limits.streams_without_policy, STREAM_WINDOW_MIN, CONNECTION_WINDOW_MIN)
        };
        let connection = http2::Builder::new(streams.clone())
            .max_concurrent_streams(u32::try_from(streams_max).unwrap_or(u32::MAX))
            .initial_stream_window_size(window)
            .initial_connection_window_size(connection_window)
            .max_header_list_size(HEAD_LEN_MAX)
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .max_local_error_reset_streams(LOCAL_RESETS_MAX)
            .serve_connection(io, service);
        let rate = u64::try_from(write_rate).unwrap_or(u64::MAX).max(1);
        let whole = write + Duration::from_millis(RESPONSE_LEN_MAX * 1000 / rate);
        let times = ResponseTimes { part: write, whole };
        let connection = Multiplexed::new(connection, streams, Arc::clone(&activity), times);
        Box::pin(run(app, Box::pin(connection), open))
    } else {
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            // hyper accepts 100 headers by default, and is faster with the default.
            .max_buf_size(READ_BUFFER_LEN)
            .serve_connection(io, service);
        Box::pin(run(app, Box::pin(connection), open))
    }
}

/// Runs a connection until it ends, is idle for too long, is closed for another one, or the server drains.
async fn run(
    app: &App,
    mut connection: Pin<Box<impl Http<Output = hyper::Result<()>>>>,
    open: Open,
) {
    let Open { address, verdict, activity, closed } = open;
    let idle_timeout = match verdict {
        Verdict::Served => app.limits.idle_timeout,
        Verdict::Refused | Verdict::WithoutPolicy => app.limits.idle_timeout_without_policy,
    };
    let finish = async {
        tokio::select! {
            () = app.stop.soft().cancelled() => {}
            () = closed.cancelled() => {}
            () = activity.idle_for(idle_timeout) => {}
        }
    };
    if let Some(result) = run_until_cancelled(pin!(finish), connection.as_mut()).await {
        return ended(result);
    }
    if closed.is_cancelled() {
        tracing::debug!(peer = %address, "an idle connection is closed for a new one");
    }
    if activity.is_overdue() {
        app.refusals.note(address, &Refusal::not_read(), None);
    }
    connection.as_mut().finish();
    // Accepted requests get their responses, within the drain timeout of the server. The connection does
    // not wait for a client that has no request and does not close it, or that does not read.
    let quiet = if closed.is_cancelled() { Duration::ZERO } else { CLOSE_TIMEOUT };
    // Sends GOAWAY, by which an h2 client knows which requests it may retry.
    if let Poll::Ready(result) = poll!(connection.as_mut()) {
        return ended(result);
    }
    let done = activity.done(quiet);
    if let Some(result) = run_until_cancelled(pin!(done), connection.as_mut()).await {
        ended(result);
    } else {
        tracing::debug!("connection did not close in time");
    }
}

/// Abstracts over HTTP/1.1 and h2 connections.
trait Http: Future {
    /// Accepts no more requests, and ends when the accepted ones have their responses.
    fn finish(self: Pin<&mut Self>);
}

type Io = TokioIo<TimedIo<TlsStream<Wire>>>;

impl<S> Http for http1::Connection<Io, S>
where
    S: HttpService<Incoming, ResBody = HttpBody, Error: Into<BoxError>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Http for Multiplexed<http2::Connection<Io, S, NewStreams>>
where
    S: HttpService<Incoming, ResBody = HttpBody, Error: Into<BoxError>, Future: Send + 'static>,
{
    fn finish(mut self: Pin<&mut Self>) {
        Pin::new(self.connection()).graceful_shutdown();
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}
