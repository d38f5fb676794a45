//! Measures the processor time of a TLS handshake.

use super::Bench;
use super::table::Row;
use crate::candidate::{Candidate, alternate};
use crate::scenario::FullScenario;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = FullScenario::start(bench.pinning).await;
    let floor = full.floor(bench.pinning, false).await;
    let mut candidates = [
        Candidate::handshakes("floor", &floor, &full.credential),
        Candidate::handshakes("kes", &full.server, &full.credential),
    ];
    alternate(&mut candidates, bench.rounds, bench.until()).await;
    floor.kill().await;
    full.end().await;
    let [floor, kes] = &candidates;
    let row = Row::ratio("handshake, X25519MLKEM768: CPU", (kes, floor), |turn| turn.cpu, "µs");
    vec![row.at_most(1.10)]
}
