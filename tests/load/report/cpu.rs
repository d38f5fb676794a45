//! Processor time of a decrypt under load.

use super::Bench;
use super::table::Row;
use crate::figure::text;
use crate::load::Shape;
use crate::operation::Operation;
use crate::scene::Full;
use crate::subject::{Subject, alternate};

const RATIO_MAX: f64 = 1.25;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    vec![h2(bench).await, h1(bench).await]
}

async fn h2(bench: &Bench) -> Row {
    let full = Full::start(bench.places).await;
    let floor = full.floor(bench.places, false).await;
    let together = full.floor(bench.places, true).await;
    let work = (Shape::BUSY, Operation::Decrypt);
    let mut subjects = [
        Subject::new("floor", &floor, &full.who, work).await,
        Subject::new("floor, writes shared", &together, &full.who, work).await,
        Subject::new("kes", &full.server, &full.who, work).await,
    ];
    alternate(&mut subjects, bench.rounds, bench.until()).await;
    floor.kill().await;
    together.kill().await;
    full.end().await;
    let [floor, together, kes] = &subjects;
    let stricter = text(together.median(|turn| turn.cpu), "µs");
    let ratio = kes.ratio_to(together, |turn| turn.cpu);
    row("h2, 4 connections × 8 streams: CPU per decrypt", floor, kes)
        .also(format!("{ratio:.2} against the floor that shares writes ({stricter})"))
}

async fn h1(bench: &Bench) -> Row {
    let full = Full::start(bench.places).await;
    let floor = full.floor(bench.places, false).await;
    let [floor, kes] = bench.decrypts(full, floor, Shape::BUSY_H1).await;
    row("HTTP/1.1, 16 connections: CPU per decrypt", &floor, &kes)
}

fn row(what: &str, floor: &Subject, kes: &Subject) -> Row {
    Row::ratio(what, (kes, floor), |turn| turn.cpu, "µs").at_most(RATIO_MAX)
}
