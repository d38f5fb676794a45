//! Serves one connection: the TLS handshake, then requests until it ends.

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
use crate::connection::multiplex::{AnswerTimes, Multiplexed, NewStreams};
use crate::connection::peer::Peer;
use crate::connection::protocol::{self, Protocol};
use crate::connection::run_until::run_until_cancelled;
use crate::connection::socket::Wire;
use crate::connection::timed_io::{IoTimes, TimedIo};
use crate::http::head;
use crate::http::service::{ConnectionService, HttpBody};
use crate::limit::admission::{Slot, Verdict};
use crate::log::refusal::Refusal;
use crate::state::app::App;

/// The longest head of a request, in bytes: a forwarded certificate fits.
const HEAD_LEN_MAX: u32 = 16 << 10;

/// What an HTTP/1.1 connection reads ahead, in bytes; bounds a request's head as well.
const READ_BUFFER_LEN: usize = head::HEAD_LEN_MAX;

/// Streams that a client opened and reset before they were looked at; more end the connection.
const RESET_STREAMS_MAX: usize = 20;

/// Streams that we reset and still remember; more end the connection.
const LOCAL_RESETS_MAX: usize = 1024;

/// What an h2 client may send of bodies before they are read, in bytes: for a stream and for the
/// connection. Streams whose bodies wait for memory must not use all of the connection's window.
const STREAM_WINDOW: u32 = 32 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The same for a peer without a policy: HTTP/2's least for a connection.
const STREAM_WINDOW_MIN: u32 = 8 << 10;
const CONNECTION_WINDOW_MIN: u32 = (64 << 10) - 1;

/// The longest answer in bytes, for the time that it may take.
const ANSWER_LEN_MAX: u64 = 2 << 20;

/// The idle timeout of a connection after its graceful shutdown has begun.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves a connection to its end.
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
        // On the heap, as everything that is large: a connection at rest keeps what it needs alone.
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
    let is_cut = cut(&app, address, Some(&closed));
    let Some(Some((requests, verdict))) = run_until_cancelled(pin!(is_cut), pin!(work)).await
    else {
        return;
    };
    // A served connection is shut down gracefully, not cut off: its first token is not needed any more.
    let closed = (verdict != Verdict::Served).then_some(closed);
    let is_cut = cut(&app, address, closed.as_ref());
    run_until_cancelled(pin!(is_cut), pin!(requests)).await;
}

/// Returns when a connection is to end at once: in favour of another, or with the server.
async fn cut(app: &App, address: SocketAddr, closed: Option<&CancellationToken>) {
    let closed = OptionFuture::from(closed.map(CancellationToken::cancelled));
    tokio::select! {
        Some(()) = closed => app.refusals.note(address, &Refusal::evicted(), None),
        () = app.stop.hard().cancelled() => {}
    }
}

/// A connection after its handshake.
struct Open {
    address: SocketAddr,
    verdict: Verdict,
    activity: Arc<Activity>,
    /// Cancelled when it is to end in favour of another.
    closed: CancellationToken,
}

/// Does the TLS handshake under the configuration in force. An unfinished handshake ends with the server.
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

/// The handshake alone. A client that is refused is in the log before it can know that it was.
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
            protocol::answer_http(stream, is_head).await;
        }
        Protocol::Other => refuse(Refusal::not_tls()),
        Protocol::Nothing => tracing::debug!(peer = %address, "a connection ended without a byte"),
    }
    None
}

/// Reads a `ClientHello`, then waits for a slot among the handshakes: reading costs nothing that others wait for.
async fn accept_tls(app: &App, stream: TcpStream, slot: &Slot) -> io::Result<TlsStream<Wire>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), Wire::from(stream)).await?;
    slot.hello_received();
    let config = Arc::clone(&app.live.load().tls);
    let begin = || {
        slot.slot_used();
        // In a burst most clients have left by the time their handshake gets a permit.
        let has_left = protocol::has_left(&hello.io);
        (!has_left).then(|| hello.into_stream(config))
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
    // Streams share an h2 connection, so that a head's time is not the connection's.
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
        let whole = write + Duration::from_millis(ANSWER_LEN_MAX * 1000 / rate);
        let answers = AnswerTimes { part: write, whole };
        let connection = Multiplexed::new(connection, streams, Arc::clone(&activity), answers);
        Box::pin(drive(app, Box::pin(connection), open))
    } else {
        let connection = http1::Builder::new()
            .header_read_timeout(None)
            // hyper accepts 100 headers by default, and is faster when this is not set (docs/performance.md).
            .max_buf_size(READ_BUFFER_LEN)
            .serve_connection(io, service);
        Box::pin(drive(app, Box::pin(connection), open))
    }
}

/// Runs a connection until it ends, exceeds its idle timeout, is closed for another, or the server drains.
async fn drive(
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
        app.refusals.note(address, &Refusal::not_taken(), None);
    }
    connection.as_mut().finish();
    // Accepted requests are answered, in the time that the server as a whole has to drain. A
    // client that has none and does not close its end is not waited for, nor is one that does not
    // take its answers.
    let quiet = if closed.is_cancelled() { Duration::ZERO } else { CLOSE_TIMEOUT };
    // HTTP/2's GOAWAY says which requests a client may send again.
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

/// A connection of either protocol.
trait Http: Future {
    /// Takes no more requests, and ends when those that were taken are answered.
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
