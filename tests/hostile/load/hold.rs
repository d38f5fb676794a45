//! Connections that are opened and kept.

use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

use kes_tests::Dialer;
use tokio::time::interval;

use super::{Load, Tally};

/// How often a connection is used, so that it is not idle.
const USE: Duration = Duration::from_secs(1);

/// Starts so many connections that are kept as long as the server lets them, and used now and then.
/// Each counts `held` after its first answer and `ended` when the server ends it; those that never
/// have an answer count `refused`. None of them comes back.
pub(crate) fn start(dialer: &Dialer, source: IpAddr, connections: usize) -> Load {
    let dialer = dialer.clone().from(source);
    Load::start(connections, move |_, tally| {
        let dialer = dialer.clone();
        async move {
            held(&dialer, &tally).await;
            pending().await
        }
    })
}

async fn held(dialer: &Dialer, tally: &Tally) {
    let mut ticks = interval(USE);
    let mut is_held = false;
    if let Ok(mut connection) = dialer.connect().await {
        while connection.try_send(kes_tests::Request::new("GET", "/v1/status")).await.is_ok() {
            if !is_held {
                tally.count("held");
            }
            is_held = true;
            ticks.tick().await;
        }
    }
    tally.count(if is_held { "ended" } else { "refused" });
}
