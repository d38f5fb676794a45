//! Measures latencies under half load in an open loop.

use super::Bench;
use super::table::Row;
use crate::candidate::Candidate;
use crate::load::{Load, Shape, Until};
use crate::operation::Operation;
use crate::scenario::FullScenario;

/// Number of turns in which the rate of a closed loop is measured.
const RATE_SAMPLE: u32 = 4;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = FullScenario::start(bench.pinning).await;
    let floor = full.floor(bench.pinning, true).await;
    let dialer = full.server.dial().show(&full.credential);
    let requests = Operation::Decrypt.requests(&dialer, Shape::BUSY.proto).await;
    let mut closed = Load::open(&dialer, Shape::BUSY, requests).await;
    closed.run(bench.until()).await;
    let rate = closed.run(Until::Elapsed(bench.turn * RATE_SAMPLE)).await.half_rate();
    drop(closed);
    // Both get the same rate.
    let [floor, kes] = bench.decrypts(full, floor, Shape::BUSY.at(rate)).await;
    let row = |name: &str, quantile: f64| {
        let of = |candidate: &Candidate| candidate.total.latencies.micros(quantile);
        let (kes, floor) = (of(&kes), of(&floor));
        let what = format!("h2, 4 × 8 at half load: {name}");
        Row::new(&what, kes / floor, "").of((kes, floor), "µs")
    };
    let also = format!("{rate} a second; against the floor that shares writes");
    vec![row("p50", 0.5).also(also), row("p99", 0.99), row("p99.9", 0.999)]
}
