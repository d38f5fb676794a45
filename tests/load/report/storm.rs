//! All clients come at once, while one that is there already goes on working.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kes_harness::{Connection, Credential, Dialer, Proto, Request, Server};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bench;
use super::table::Row;
use crate::beside;
use crate::figure::{median, millis, text};
use crate::latency::Latencies;
use crate::load::{Load, Shape, Tally, Until};
use crate::operation::{KEY, Operation};
use crate::scene::Full;

const CLIENTS: usize = 1000;

/// Storms on each server; the median counts.
const STORMS: usize = 3;

/// What the client that is measured does between looks at whether the storm is over.
const SLICE: Duration = Duration::from_millis(20);

/// The storm's clients give way to the one that is measured.
const GIVES_WAY: i32 = 19;

/// What a storm gave.
struct Outcome {
    before: Latencies,
    during: Latencies,
    took: Duration,
}

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = Full::start(bench.places).await;
    let bare = full.floor(bench.places, false).await;
    let (mut kes, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..STORMS {
        floor.push(storm(bench, &bare, &full.who).await);
        kes.push(storm(bench, &full.server, &full.who).await);
    }
    bare.kill().await;
    full.end().await;
    let row = |what: &str, unit: &str, of: fn(&Outcome) -> f64| {
        let (kes, floor) = (median(kes.iter().map(of)), median(floor.iter().map(of)));
        Row::new(what, kes / floor, "").of((kes, floor), unit)
    };
    let worst = kes.iter().map(|outcome| outcome.during.micros(1.0) / 1000.0).fold(0.0, f64::max);
    vec![
        row("p99 of one client before 1,000 others connect", "µs", |outcome| {
            outcome.before.micros(0.99)
        }),
        row("p99 of one client while 1,000 others connect", "µs", |outcome| {
            outcome.during.micros(0.99)
        })
        .also(format!("at most {}", text(worst, "ms"))),
        row("until all 1,000 are answered", "ms", |outcome| millis(outcome.took))
            .also("no failures".to_owned()),
    ]
}

async fn storm(bench: &Bench, server: &Server, who: &Credential) -> Outcome {
    let dialer = server.dial().show(who);
    let requests = Operation::Decrypt.requests(&dialer, Proto::H2).await;
    let decrypt = requests[0].text();
    let mut probe = Load::open(&dialer, Shape::SERIAL, requests).await;
    probe.run(bench.until()).await;
    let before = probe.run(Until::Elapsed(bench.turn * 4)).await;
    let mut during = Tally::new();
    let storm = beside::run(GIVES_WAY, clients(dialer, decrypt.into()));
    while !storm.is_finished() {
        during.add(&probe.run(Until::Elapsed(SLICE)).await);
    }
    let (took, failures) = storm.join().expect("the clients do not panic");
    assert!(failures.is_empty(), "{} failures, such as {:?}", failures.len(), failures.first());
    assert_eq!(before.failed + during.failed, 0, "the client that was there before");
    Outcome { before: before.latencies, during: during.latencies, took }
}

/// How long until all had their answers, and what went wrong.
async fn clients(dialer: Dialer, decrypt: Arc<str>) -> (Duration, Vec<String>) {
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (dialer, decrypt) = (dialer.clone(), Arc::clone(&decrypt));
        clients.spawn(
            async move { client(&dialer, &decrypt).await.map_err(|error| error.to_string()) },
        );
    }
    // Nobody leaves before all have been answered.
    let done = clients.join_all().await;
    let took = begin.elapsed();
    (took, done.into_iter().filter_map(Result::err).collect())
}

/// Connects and decrypts.
async fn client(
    dialer: &Dialer,
    decrypt: &str,
) -> Result<Connection, Box<dyn Error + Send + Sync>> {
    let mut connection = dialer.connect().await?;
    let request = Request::new("PUT", &format!("/v1/key/decrypt/{KEY}")).json(decrypt);
    let answer = connection.try_send(request).await?;
    if answer.status == 200 { Ok(connection) } else { Err(format!("{answer:?}").into()) }
}
