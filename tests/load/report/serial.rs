//! One request after the other, as a listing of encrypted objects sends them.

use super::Bench;
use super::table::Row;
use crate::load::{Shape, Until};
use crate::operation::Operation;
use crate::scene::Full;
use crate::subject::{Subject, Turn, alternate};

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
    let compared = |what: &str, unit: &str, of: fn(&Turn) -> f64| {
        Row::new(what, kes.ratio_to(floor, of), "").of((kes.median(of), floor.median(of)), unit)
    };
    vec![
        compared("h2, one request at a time: p50", "µs", |turn| turn.p50).at_most(1.10),
        compared("h2, one request at a time: p99", "µs", |turn| turn.p99).at_most(1.25),
        compared("listing of 1,000 objects", "ms", |turn| turn.millis),
    ]
}
