//! What each operation costs.

use super::Bench;
use super::table::Row;
use crate::figure::text;
use crate::load::Shape;
use crate::operation::Operation;
use crate::scene::Full;
use crate::subject::{Subject, alternate};

/// What a status may cost, in microseconds: those who look at servers ask for it all the time.
const STATUS_MAX: f64 = 12.0;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = Full::start(bench.places).await;
    let mut subjects = Vec::new();
    for operation in Operation::ALL {
        let work = (Shape::BUSY, operation);
        subjects.push(Subject::new(operation.name(), &full.server, &full.who, work).await);
    }
    alternate(&mut subjects, bench.rounds / 2, bench.until()).await;
    full.end().await;
    let row = |subject: &Subject| {
        let what = format!("h2, 4 × 8: CPU per {}", subject.name());
        let rate = text(subject.total.rate(), "requests a second");
        let row = Row::new(&what, subject.median(|turn| turn.cpu), "µs").also(rate);
        if subject.name() == Operation::Status.name() { row.at_most(STATUS_MAX) } else { row }
    };
    subjects.iter().map(row).collect()
}
