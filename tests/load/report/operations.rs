//! Measures the processor time of each operation.

use super::Bench;
use super::table::Row;
use crate::candidate::{Candidate, alternate};
use crate::load::Shape;
use crate::number::text;
use crate::operation::Operation;
use crate::scenario::FullScenario;

/// Target of a status request in microseconds; monitoring sends it often.
const STATUS_MAX: f64 = 12.0;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = FullScenario::start(bench.pinning).await;
    let mut candidates = Vec::new();
    for operation in Operation::ALL {
        let work = (Shape::BUSY, operation);
        candidates
            .push(Candidate::new(operation.name(), &full.server, &full.credential, work).await);
    }
    alternate(&mut candidates, bench.rounds / 2, bench.until()).await;
    full.end().await;
    let row = |candidate: &Candidate| {
        let what = format!("h2, 4 × 8: CPU per {}", candidate.name());
        let rate = text(candidate.total.rate(), "requests a second");
        let row = Row::new(&what, candidate.median(|turn| turn.cpu), "µs").also(rate);
        if candidate.name() == Operation::Status.name() { row.at_most(STATUS_MAX) } else { row }
    };
    candidates.iter().map(row).collect()
}
