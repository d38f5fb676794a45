//! Processor time of a handshake.

use super::Bench;
use super::table::Row;
use crate::scene::Full;
use crate::subject::{Subject, alternate};

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let full = Full::start(bench.places).await;
    let floor = full.floor(bench.places, false).await;
    let mut subjects = [
        Subject::handshakes("floor", &floor, &full.who),
        Subject::handshakes("kes", &full.server, &full.who),
    ];
    alternate(&mut subjects, bench.rounds, bench.until()).await;
    floor.kill().await;
    full.end().await;
    let [floor, kes] = &subjects;
    let row = Row::ratio("handshake, X25519MLKEM768: CPU", (kes, floor), |turn| turn.cpu, "µs");
    vec![row.at_most(1.10)]
}
