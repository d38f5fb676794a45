//! Clients beside those that are measured.

use std::thread::{self, JoinHandle};

use http_body_util::BodyExt as _;
use kes_harness::{Credential, Proto, Server};
use tokio::sync::oneshot;

use crate::wire::{Prepared, Wire};

/// Gives way to the clients that are measured, and still keeps up.
const POLITE: i32 = 5;

/// Does something on a thread of its own, on the clients' processor, that gives way to others by
/// so much.
pub(crate) fn run<T: Send + 'static>(
    nice: i32,
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    thread::spawn(move || {
        // On Linux it is the thread that is nice.
        let _ = rustix::process::nice(nice);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(work)
    })
}

/// Somebody who follows the audit log.
pub(crate) struct Follower(JoinHandle<()>);

impl Follower {
    /// Subscribes.
    pub(crate) async fn of(server: &Server, admin: &Credential) -> Self {
        let dialer = server.dial().show(admin);
        let (subscribed, is_subscribed) = oneshot::channel();
        let thread = run(POLITE, async move {
            let mut wire = Wire::open(&dialer, Proto::H2).await;
            let response = wire.start(&Prepared::get("/v1/log/audit")).await;
            assert_eq!(response.status(), 200);
            let _ = subscribed.send(());
            let mut body = response.into_body();
            while let Some(Ok(_)) = body.frame().await {}
        });
        is_subscribed.await.expect("the audit log can be followed");
        Self(thread)
    }

    /// Demands that the log was followed until now.
    pub(crate) fn still_follows(&self) {
        assert!(!self.0.is_finished(), "the audit log's stream has ended");
    }
}
