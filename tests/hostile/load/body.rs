//! A load of bodies that never end.

use std::future::pending;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kes_harness::{Answer, Dialer, Feed, Payload, Request};
use tokio::task::JoinSet;
use tokio::time::interval;

use super::{Counters, Load};

/// How often a slow body sends a byte.
const TRICKLE: Duration = Duration::from_secs(1);

/// The length of a piece.
pub(crate) const PIECE_LEN: usize = 64 << 10;

/// How a body goes on after its first bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Delivery {
    /// Not at all.
    Stall,
    /// By a byte a second.
    Trickle,
}

/// What is sent, and where to.
#[derive(Clone, Debug)]
pub(crate) struct Endless {
    /// The path of the PUT requests.
    pub(crate) path: String,
    /// What each body sends as fast as the server takes it, in pieces of [`PIECE_LEN`].
    pub(crate) pieces: usize,
    /// How it goes on.
    pub(crate) delivery: Delivery,
    /// Bodies at a time on each connection.
    pub(crate) streams: usize,
}

/// Starts so many connections with endless bodies. Each body counts `open` when the server has its
/// head, `piece` for each piece, and its answer's status when it has one; then the next body takes
/// its turn.
pub(crate) fn start(
    dialer: &Dialer,
    endless: &Endless,
    source: IpAddr,
    connections: usize,
) -> Load {
    let (dialer, endless) = (dialer.clone().from(source), endless.clone());
    Load::start(connections, move |_, counters| {
        let (dialer, endless) = (dialer.clone(), endless.clone());
        async move {
            if connection(&dialer, &endless, &counters).await.is_none() {
                counters.count("ended");
            }
        }
    })
}

/// Keeps all bodies of a connection open; `None` when it ended.
async fn connection(dialer: &Dialer, endless: &Endless, counters: &Arc<Counters>) -> Option<()> {
    let mut connection = dialer.connect().await.ok()?;
    let mut answers: JoinSet<Option<Answer>> = JoinSet::new();
    loop {
        while answers.len() < endless.streams {
            let (mut feed, payload) = Payload::fed();
            let request = Request::new("PUT", &endless.path).payload(payload);
            let pending = connection.start(request).await.ok()?;
            let (endless, counters) = (endless.clone(), Arc::clone(counters));
            answers.spawn(async move {
                tokio::select! {
                    answer = pending.try_answer() => answer.ok(),
                    () = fed(&mut feed, &endless, &counters) => None,
                }
            });
        }
        let answer = answers.join_next().await?.expect("no task panics");
        match answer {
            Some(answer) => {
                counters.count(format!("status {}: {}", answer.status, message(&answer)));
            }
            None => counters.count("no answer"),
        }
    }
}

/// What an error's answer says.
fn message(answer: &Answer) -> String {
    if answer.status == 200 { String::new() } else { answer.error() }
}

/// Sends a body that does not end.
async fn fed(feed: &mut Feed, endless: &Endless, counters: &Counters) {
    if !feed.was_wanted().await {
        return pending().await;
    }
    counters.count("open");
    let mut piece = vec![b'A'; PIECE_LEN];
    for number in 1..=endless.pieces {
        let start: &[u8] = if number == 1 { br#"{"plaintext":""# } else { b"" };
        piece[..start.len()].copy_from_slice(start);
        if !feed.try_send(piece.clone()) || !feed.was_taken(number).await {
            return pending().await;
        }
        counters.count("piece");
        piece.fill(b'A');
    }
    match endless.delivery {
        Delivery::Stall => pending().await,
        Delivery::Trickle => {
            let mut ticks = interval(TRICKLE);
            loop {
                ticks.tick().await;
                if !feed.try_send("A") {
                    return pending().await;
                }
            }
        }
    }
}
