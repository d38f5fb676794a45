//! One connection: handshake, then requests until it ends.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::admission::Place;
use crate::app::App;
use crate::idle::{Activity, HeadTimeout};
use crate::peer::Peer;
use crate::router;

/// Streams of one h2 connection at a time; a `MinIO` node sends all its requests over one.
const STREAMS_MAX: u32 = 250;

/// The longest head of a request, in bytes: a forwarded certificate fits.
const HEAD_LEN_MAX: u32 = 16 << 10;

/// What an HTTP/1.1 connection reads ahead, in bytes; bounds a request's head as well.
const READ_BUFFER_LEN: usize = 64 << 10;

/// The most headers of a request.
const HEADERS_MAX: usize = 100;

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
    let evicted = place.evicted();
    let work = async {
        let Some(tls) = handshake(&app, stream, address).await else { return };
        let certificates = tls.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Arc::new(Peer::new(address, certificates));
        let idle_timeout = if peer.is_known(&app.live.load()) {
            place.promote();
            app.limits.idle_timeout
        } else {
            app.limits.stranger_idle_timeout
        };
        requests(&app, router, tls, peer, idle_timeout).await;
    };
    tokio::select! {
        () = work => {}
        () = evicted.cancelled() => {}
        () = app.stop.hard().cancelled() => {}
    }
}

/// Shakes hands under the configuration in force. An unfinished handshake ends with the server.
async fn handshake(
    app: &App,
    stream: TcpStream,
    address: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    let acceptor = TlsAcceptor::from(Arc::clone(&app.live.load().tls));
    let handshake = tokio::time::timeout(app.limits.handshake_timeout, acceptor.accept(stream));
    match app.stop.soft().run_until_cancelled(handshake).await? {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::warn!(peer = %address, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(peer = %address, "TLS handshake timed out");
            None
        }
    }
}

async fn requests(
    app: &App,
    router: Router,
    tls: TlsStream<TcpStream>,
    peer: Arc<Peer>,
    idle_timeout: Duration,
) {
    let activity = Activity::new();
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = {
        let activity = Arc::clone(&activity);
        service_fn(move |request| {
            router::front(router.clone(), Arc::clone(&peer), Arc::clone(&activity), request)
        })
    };
    if is_h2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_LEN_MAX)
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .max_local_error_reset_streams(LOCAL_RESETS_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(tls), service);
        drive(app, connection, &activity, idle_timeout).await;
    } else {
        let io = HeadTimeout::new(tls, Arc::clone(&activity), app.limits.head_timeout);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(HEADERS_MAX)
            .max_buf_size(READ_BUFFER_LEN)
            .serve_connection(TokioIo::new(io), service);
        drive(app, connection, &activity, idle_timeout).await;
    }
}

/// Runs a connection until it ends, idles for too long or the server drains.
async fn drive<C>(app: &App, connection: C, activity: &Activity, idle_timeout: Duration)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return ended(result),
        () = app.stop.soft().cancelled() => {}
        () = activity.idle_for(idle_timeout) => {}
    }
    connection.as_mut().graceful_shutdown();
    // Accepted requests are answered, in the time that the server as a whole has to drain. A
    // client that has none and does not close its end is not waited for.
    let idle = async {
        tokio::time::sleep(CLOSE_TIMEOUT).await;
        activity.answered_for(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        result = connection => ended(result),
        () = idle => tracing::debug!("connection did not close in time"),
    }
}

fn ended<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}
