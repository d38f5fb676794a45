//! The accept loop. It never ends by itself, and does nothing that a client can make slow.

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

/// Connections that the kernel keeps for us to accept.
pub(crate) const BACKLOG: u32 = 4096;

/// How long accepting pauses when the process or the machine is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Accept errors that say so.
const WANTS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// After this silence the kernel asks a client whether it still lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Accepts connections until the server drains; each is served on the tracker.
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
                    Err(error) => survive(&error, &admission).await,
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

/// An accept that failed for one connection is forgotten. One that failed for want of descriptors
/// or memory pauses, after connections that are not known were closed.
async fn survive(error: &io::Error, admission: &Admission) {
    let is_want = error
        .raw_os_error()
        .map(Errno::from_raw_os_error)
        .is_some_and(|errno| WANTS.contains(&errno));
    if !is_want {
        tracing::debug!(%error, "a connection ended before it was accepted");
        return;
    }
    tracing::error!(%error, "cannot accept connections; is the limit of open files too low?");
    admission.close_half();
    tokio::time::sleep(PAUSE).await;
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
