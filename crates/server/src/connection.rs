//! One connection: handshake, then requests until it ends.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::{BoxError, Router};
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admission::Place;
use crate::app::App;
use crate::body::SentBody;
use crate::idle::{Activity, HeadTimeout};
use crate::multiplex::{Multiplexed, NewStreams};
use crate::peer::Peer;
use crate::protocol::{self, Protocol};
use crate::refusal::Refusal;
use crate::router::Front;
use crate::unless::unless;
use crate::wire::Wire;

/// Streams of one h2 connection at a time; a `MinIO` node sends all its requests over one.
const STREAMS_MAX: u32 = 250;

/// The longest head of a request, in bytes: a forwarded certificate fits.
const HEAD_LEN_MAX: u32 = 16 << 10;

/// What an HTTP/1.1 connection reads ahead, in bytes; bounds a request's head as well.
const READ_BUFFER_LEN: usize = 64 << 10;

/// Streams that a client opened and reset before they were looked at; more end the connection.
const RESET_STREAMS_MAX: usize = 20;

/// Streams that we reset and still remember; more end the connection.
const LOCAL_RESETS_MAX: usize = 1024;

/// How often a silent h2 client is asked whether it still lives, and how long it has to answer.
const PING_INTERVAL: Duration = Duration::from_mins(1);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection that was asked to end may go on without a request.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Serves a connection to its end.
pub(crate) async fn serve(
    app: Arc<App>,
    router: Router,
    stream: TcpStream,
    address: SocketAddr,
    mut place: Place,
) {
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let evicted = place.evicted();
    let work = async {
        // On the heap, as everything that is large: a connection at rest keeps what it needs alone.
        let Some(tls) = Box::pin(handshake(&app, stream, address)).await else { return };
        let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Peer::new(address, certificates);
        let idle_timeout = if peer.is_known(&app.live.load()) {
            place.promote();
            app.limits.idle_timeout
        } else {
            app.limits.stranger_idle_timeout
        };
        requests(&app, router, tls, peer, idle_timeout).await;
    };
    let end = async {
        tokio::select! {
            () = evicted.cancelled() => {}
            () = app.stop.hard().cancelled() => {}
        }
    };
    let ended = unless(pin!(end), pin!(work)).await;
    if ended.is_none() && evicted.is_cancelled() {
        app.refusals.note(address, &Refusal::evicted(), None);
    }
}

/// Shakes hands under the configuration in force. An unfinished handshake ends with the server.
async fn handshake(app: &App, stream: TcpStream, address: SocketAddr) -> Option<TlsStream<Wire>> {
    let acceptor = TlsAcceptor::from(Arc::clone(&app.live.load().tls));
    // What a handshake begins with waits for its turn as well.
    let handshake = app.handshakes.run(accept(app, acceptor, stream, address));
    let handshake = tokio::time::timeout(app.limits.handshake_timeout, handshake);
    let Ok(accepted) = app.stop.soft().run_until_cancelled(handshake).await? else {
        app.refusals.note(address, &Refusal::timed_out(), None);
        return None;
    };
    accepted
}

/// The handshake alone. A client that is refused is in the log before it can know that it was.
async fn accept(
    app: &App,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
) -> Option<TlsStream<Wire>> {
    let refuse = |refusal: Refusal| app.refusals.note(address, &refusal, None);
    match Protocol::of(&stream).await {
        Protocol::Tls => {
            let accepted = acceptor.accept(Wire::from(stream)).await;
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

fn requests(
    app: &Arc<App>,
    router: Router,
    tls: TlsStream<Wire>,
    peer: Peer,
    idle_timeout: Duration,
) -> BoxFuture<'_, ()> {
    let activity = Activity::new();
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let front = Front::new(Arc::clone(app), router, peer, Arc::clone(&activity));
    let service = service_fn(move |request| front.answer(request));
    if is_h2 {
        let streams = NewStreams::default();
        let connection = http2::Builder::new(streams.clone())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_LEN_MAX)
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .max_local_error_reset_streams(LOCAL_RESETS_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(tls), service);
        let connection = Box::pin(Multiplexed::new(connection, streams));
        Box::pin(drive(app, connection, activity, idle_timeout))
    } else {
        let io = HeadTimeout::new(tls, Arc::clone(&activity), app.limits.head_timeout);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            // hyper takes 100 headers unless told otherwise, and is faster for not being told.
            .max_buf_size(READ_BUFFER_LEN)
            .serve_connection(TokioIo::new(io), service);
        Box::pin(drive(app, Box::pin(connection), activity, idle_timeout))
    }
}

/// Runs a connection until it ends, idles for too long or the server drains.
async fn drive(
    app: &App,
    mut connection: Pin<Box<impl Http<Output = hyper::Result<()>>>>,
    activity: Arc<Activity>,
    idle_timeout: Duration,
) {
    let finish = async {
        tokio::select! {
            () = app.stop.soft().cancelled() => {}
            () = activity.idle_for(idle_timeout) => {}
        }
    };
    if let Some(result) = unless(pin!(finish), connection.as_mut()).await {
        return ended(result);
    }
    connection.as_mut().finish();
    // Accepted requests are answered, in the time that the server as a whole has to drain. A
    // client that has none and does not close its end is not waited for.
    let idle = async {
        tokio::time::sleep(CLOSE_TIMEOUT).await;
        activity.answered_for(CLOSE_TIMEOUT).await;
    };
    if let Some(result) = unless(pin!(idle), connection.as_mut()).await {
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

type Io = TokioIo<TlsStream<Wire>>;

impl<S> Http for http1::Connection<TokioIo<HeadTimeout<TlsStream<Wire>>>, S>
where
    S: HttpService<Incoming, ResBody = SentBody, Error: Into<BoxError>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Http for Multiplexed<http2::Connection<Io, S, NewStreams>>
where
    S: HttpService<Incoming, ResBody = SentBody, Error: Into<BoxError>, Future: Send + 'static>,
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
