//! Binds the listener and accepts connections until shutdown.
//!
//! The accept loop waits for no client, so a slow client does not delay others. It continues after every
//! accept error.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::io::Errno;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::connection::serve;
use crate::limit::admission::Admission;
use crate::log::refusal::Refusal;
use crate::state::app::App;

/// Length of the kernel's queue of connections that are not accepted yet.
pub(crate) const BACKLOG: u32 = 4096;

/// The backoff of the accept loop after a resource was exhausted.
const BACKOFF: Duration = Duration::from_millis(100);

/// Accept errors that mean that file descriptors or memory are exhausted.
const RESOURCE_EXHAUSTED: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// How long a connection is idle before the kernel sends TCP keepalive probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Accepts connections until shutdown begins; each is served in a task of the tracker.
pub(crate) async fn accept(
    app: Arc<App>,
    router: Router,
    listener: TcpListener,
    tasks: TaskTracker,
) {
    let admission = Admission::new(app.limits);
    let stop = app.stop.soft().clone();
    let accepting = async {
        loop {
            let (stream, address) = loop {
                match listener.accept().await {
                    Ok(accepted) => break accepted,
                    Err(error) => on_accept_error(&error, &admission).await,
                }
            };
            if let Err(error) = prepare(&stream) {
                tracing::debug!(%error, "cannot set socket options");
            }
            admission.closed_have_ended().await;
            let Some(slot) = admission.accept(address.ip()) else {
                app.refusals.note(address, &Refusal::evicted(), None);
                continue;
            };
            let connection = serve::serve(Arc::clone(&app), router.clone(), stream, address, slot);
            tasks.spawn(connection);
        }
    };
    let _: Option<()> = stop.run_until_cancelled(accepting).await;
}

/// Handles an accept error. An error of a single connection is only logged. If file descriptors or memory
/// are exhausted, closes connections without a known identity and waits.
async fn on_accept_error(error: &io::Error, admission: &Admission) {
    let is_exhausted = error
        .raw_os_error()
        .map(Errno::from_raw_os_error)
        .is_some_and(|errno| RESOURCE_EXHAUSTED.contains(&errno));
    if !is_exhausted {
        tracing::debug!(%error, "a connection ended before it was accepted");
        return;
    }
    tracing::error!(%error, "cannot accept connections; is the limit of open files too low?");
    admission.close_half();
    tokio::time::sleep(BACKOFF).await;
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_IDLE)?;
    Ok(())
}

/// Binds the first address that can be bound.
pub(crate) fn bind(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind_one(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
