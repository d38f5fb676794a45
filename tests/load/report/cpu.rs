//! Measures the processor time of a decrypt under load.

use super::Bench;
use super::table::Row;
use crate::candidate::{Candidate, alternate};
use crate::load::Shape;
use crate::number::text;
use crate::operation::Operation;
use crate::scenario::FullScenario;

const RATIO_MAX: f64 = 1.25;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    vec![h2(bench).await, h1(bench).await]
}

async fn h2(bench: &Bench) -> Row {
    let full = FullScenario::start(bench.pinning).await;
    let floor = full.floor(bench.pinning, false).await;
    let in_one_task = full.floor(bench.pinning, true).await;
    let work = (Shape::BUSY, Operation::Decrypt);
    let mut candidates = [
        Candidate::new("floor", &floor, &full.credential, work).await,
        Candidate::new("floor, writes shared", &in_one_task, &full.credential, work).await,
        Candidate::new("kes", &full.server, &full.credential, work).await,
    ];
    alternate(&mut candidates, bench.rounds, bench.until()).await;
    floor.kill().await;
    in_one_task.kill().await;
    full.end().await;
    let [floor, in_one_task, kes] = &candidates;
    let stricter = text(in_one_task.median(|turn| turn.cpu), "µs");
    let ratio = kes.ratio_to(in_one_task, |turn| turn.cpu);
    row("h2, 4 connections × 8 streams: CPU per decrypt", floor, kes)
        .also(format!("{ratio:.2} against the floor that shares writes ({stricter})"))
}

async fn h1(bench: &Bench) -> Row {
    let full = FullScenario::start(bench.pinning).await;
    let floor = full.floor(bench.pinning, false).await;
    let [floor, kes] = bench.decrypts(full, floor, Shape::BUSY_H1).await;
    row("HTTP/1.1, 16 connections: CPU per decrypt", &floor, &kes)
}

fn row(what: &str, floor: &Candidate, kes: &Candidate) -> Row {
    Row::ratio(what, (kes, floor), |turn| turn.cpu, "µs").at_most(RATIO_MAX)
}
