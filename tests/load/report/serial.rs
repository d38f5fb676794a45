//! Measures one request at a time, as a listing of encrypted objects sends them.

use super::Bench;
use super::table::Row;
use crate::candidate::{Candidate, alternate};
use crate::load::{Shape, Until};
use crate::operation::Operation;
use crate::scenario::FullScenario;

/// Number of objects in a listing.
const LISTING: usize = 1000;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = FullScenario::start(bench.pinning).await;
    let floor = full.floor(bench.pinning, false).await;
    let work = (Shape::SERIAL, Operation::Decrypt);
    let mut candidates = [
        Candidate::new("floor", &floor, &full.credential, work).await,
        Candidate::new("kes", &full.server, &full.credential, work).await,
    ];
    alternate(&mut candidates, bench.listings, Until::Sent(LISTING)).await;
    floor.kill().await;
    full.end().await;
    let [floor, kes] = &candidates;
    let both = (kes, floor);
    vec![
        Row::ratio("h2, one request at a time: p50", both, |turn| turn.p50, "µs").at_most(1.10),
        Row::ratio("h2, one request at a time: p99", both, |turn| turn.p99, "µs").at_most(1.25),
        Row::ratio("listing of 1,000 objects", both, |turn| turn.millis, "ms"),
    ]
}
