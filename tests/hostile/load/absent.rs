//! A load of requests for keys that do not exist.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kes_harness::{Dialer, Request};
use tokio::task::JoinSet;

use super::{Counters, Load};

/// How the names of keys that do not exist begin.
pub(crate) const PREFIX: &str = "my-absent-";

/// Starts so many connections that each describe so many keys at a time, none of which exists. Each
/// answer counts as its status, with an error's message.
pub(crate) fn start(dialer: &Dialer, source: IpAddr, connections: usize, streams: usize) -> Load {
    let dialer = dialer.clone().from(source);
    let next = Arc::new(AtomicUsize::new(0));
    Load::start(connections, move |_, counters| {
        let (dialer, next) = (dialer.clone(), Arc::clone(&next));
        async move {
            if connection(&dialer, streams, &next, &counters).await.is_none() {
                counters.count("ended");
            }
        }
    })
}

/// Asks without a rest; `None` when the connection ended.
async fn connection(
    dialer: &Dialer,
    streams: usize,
    next: &AtomicUsize,
    counters: &Counters,
) -> Option<()> {
    let mut connection = dialer.connect().await.ok()?;
    let mut answers = JoinSet::new();
    loop {
        while answers.len() < streams {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let path = format!("/v1/key/describe/{PREFIX}{number}");
            let pending = connection.start(Request::new("GET", &path)).await.ok()?;
            counters.count("asked");
            answers.spawn(pending.try_answer());
        }
        let answer = answers.join_next().await?.expect("no task panics").ok()?;
        counters.count(format!("status {}: {}", answer.status, answer.error()));
    }
}
