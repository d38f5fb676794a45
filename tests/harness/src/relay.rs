//! A TCP relay in front of a real server: it has one address over restarts, counts connections and can break
//! them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// A running relay, which ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    plan: Mutex<Plan>,
    cut: Notify,
    freeze: Notify,
    met: Notify,
}

#[derive(Debug)]
struct Plan {
    target: Option<SocketAddr>,
    accepted: usize,
}

impl Relay {
    /// Listens on a port of its own and forwards to `target`.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it was just bound");
        let plan = Mutex::new(Plan { target: Some(target), accepted: 0 });
        let state =
            Arc::new(State { plan, cut: Notify::new(), freeze: Notify::new(), met: Notify::new() });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, _accepting: accepting }
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.plan(|plan| plan.accepted)
    }

    /// Waits until a client connects, or has.
    pub async fn met(&self) {
        loop {
            let next = self.state.met.notified();
            if self.accepted() > 0 {
                return;
            }
            next.await;
        }
    }

    /// Returns the address that it forwards to.
    pub fn target(&self) -> Option<SocketAddr> {
        self.plan(|plan| plan.target)
    }

    /// Forwards new connections to `target` from now on; `None` closes them at once.
    pub fn turn(&self, target: Option<SocketAddr>) {
        self.plan(|plan| plan.target = target);
    }

    /// Stops forwarding on the connections that are open, without closing them.
    pub fn freeze(&self) {
        self.state.freeze.notify_waiters();
    }

    /// Ends all connections that are open.
    pub fn cut(&self) {
        self.state.cut.notify_waiters();
    }

    fn plan<T>(&self, with: impl FnOnce(&mut Plan) -> T) -> T {
        with(&mut self.state.plan.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let target = {
            let mut plan = state.plan.lock().unwrap_or_else(PoisonError::into_inner);
            plan.accepted += 1;
            plan.target
        };
        state.met.notify_waiters();
        if let Some(target) = target {
            connections.spawn(forward(stream, target, Arc::clone(&state)));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(mut stream: TcpStream, target: SocketAddr, state: Arc<State>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    // Errors are seen by both ends of the connection.
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut server) => return,
        () = state.cut.notified() => return,
        () = state.freeze.notified() => {}
    }
    state.cut.notified().await;
}
