//! Measures a client's latency while 1,000 other clients connect at the same time.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kes_harness::{Connection, Credential, Dialer, Proto, Request, Server};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Bench;
use super::table::Row;
use crate::background;
use crate::latency::Latencies;
use crate::load::{Counters, Load, Shape, Until};
use crate::number::{median, millis, text};
use crate::operation::{KEY, Operation};
use crate::scenario::FullScenario;

const CLIENTS: usize = 1000;

/// Number of storms on each server; the result is the median.
const STORMS: usize = 3;

/// How often the measured client checks whether the storm is over.
const SLICE: Duration = Duration::from_millis(20);

/// Scheduling priority of the storm's clients: below the measured client.
const NICENESS: i32 = 19;

/// The latencies before and during a storm, and its length.
struct StormResult {
    before: Latencies,
    during: Latencies,
    took: Duration,
}

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = FullScenario::start(bench.pinning).await;
    let bare = full.floor(bench.pinning, false).await;
    let (mut kes, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..STORMS {
        floor.push(storm(bench, &bare, &full.credential).await);
        kes.push(storm(bench, &full.server, &full.credential).await);
    }
    bare.kill().await;
    full.end().await;
    let row = |what: &str, unit: &str, of: fn(&StormResult) -> f64| {
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

async fn storm(bench: &Bench, server: &Server, credential: &Credential) -> StormResult {
    let dialer = server.dial().show(credential);
    let requests = Operation::Decrypt.requests(&dialer, Proto::H2).await;
    let decrypt = requests[0].text();
    let mut probe = Load::open(&dialer, Shape::SERIAL, requests).await;
    probe.run(bench.until()).await;
    let before = probe.run(Until::Elapsed(bench.turn * 4)).await;
    let mut during = Counters::new();
    let storm = background::run(NICENESS, clients(dialer, decrypt.into()));
    while !storm.is_finished() {
        during.add(&probe.run(Until::Elapsed(SLICE)).await);
    }
    let (took, failures) = storm.join().expect("the clients do not panic");
    assert!(failures.is_empty(), "{} failures, such as {:?}", failures.len(), failures.first());
    assert_eq!(before.failed + during.failed, 0, "failures of the measured client");
    StormResult { before: before.latencies, during: during.latencies, took }
}

/// Runs the storm's clients; returns the time until all were answered, and the errors.
async fn clients(dialer: Dialer, decrypt: Arc<str>) -> (Duration, Vec<String>) {
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (dialer, decrypt) = (dialer.clone(), Arc::clone(&decrypt));
        clients.spawn(
            async move { client(&dialer, &decrypt).await.map_err(|error| error.to_string()) },
        );
    }
    // All connections stay open until every client is answered.
    let done = clients.join_all().await;
    let took = begin.elapsed();
    (took, done.into_iter().filter_map(Result::err).collect())
}

/// Connects and sends one decrypt.
async fn client(
    dialer: &Dialer,
    decrypt: &str,
) -> Result<Connection, Box<dyn Error + Send + Sync>> {
    let mut connection = dialer.connect().await?;
    let request = Request::new("PUT", &format!("/v1/key/decrypt/{KEY}")).json(decrypt);
    let answer = connection.try_send(request).await?;
    if answer.status == 200 { Ok(connection) } else { Err(format!("{answer:?}").into()) }
}
