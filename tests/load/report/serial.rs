//! One request after the other, as a listing of encrypted objects sends them.

use super::Bench;
use super::table::Row;
use crate::load::{Shape, Until};
use crate::operation::Operation;
use crate::scene::Full;
use crate::subject::{Subject, alternate};

/// Objects of a listing.
const LISTING: usize = 1000;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = Full::start(bench.places).await;
    let floor = full.floor(bench.places, false).await;
    let work = (Shape::SERIAL, Operation::Decrypt);
    let mut subjects = [
        Subject::new("floor", &floor, &full.who, work).await,
        Subject::new("kes", &full.server, &full.who, work).await,
    ];
    alternate(&mut subjects, bench.listings, Until::Sent(LISTING)).await;
    floor.kill().await;
    full.end().await;
    let [floor, kes] = &subjects;
    let both = (kes, floor);
    vec![
        Row::ratio("h2, one request at a time: p50", both, |turn| turn.p50, "µs").at_most(1.10),
        Row::ratio("h2, one request at a time: p99", both, |turn| turn.p99, "µs").at_most(1.25),
        Row::ratio("listing of 1,000 objects", both, |turn| turn.millis, "ms"),
    ]
}
