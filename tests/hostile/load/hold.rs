//! A load that opens connections and keeps them.

use std::net::IpAddr;
use std::time::Duration;

use kes_harness::{Dialer, Request};
use tokio::time::interval;

use super::Load;

/// How often a connection is used, so that it is not idle, and how long one that was refused waits
/// until it comes again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts so many connections that are kept as long as the server lets them, used now and then, and
/// opened again. Each of them counts `tried` a second, `held` after its first answer, and `ended`
/// when the server ends it after that.
pub(crate) fn start(dialer: &Dialer, source: IpAddr, connections: usize) -> Load {
    let dialer = dialer.clone().from(source);
    Load::start(connections, move |_, counters| {
        let dialer = dialer.clone();
        async move {
            let mut ticks = interval(INTERVAL);
            let mut is_held = false;
            if let Ok(mut connection) = dialer.connect().await {
                while connection.try_send(Request::new("GET", "/v1/status")).await.is_ok() {
                    if !is_held {
                        counters.count("held");
                    }
                    counters.count("tried");
                    is_held = true;
                    ticks.tick().await;
                }
            }
            counters.count(if is_held { "ended" } else { "tried" });
            ticks.tick().await;
            ticks.tick().await;
        }
    })
}
