//! Measures the time from exec to the first answer.

use kes_harness::{Credential, Server};
use tokio::time::Instant;

use super::Bench;
use super::table::Row;
use crate::number::{median, millis, text};
use crate::scenario;

const RUNS: usize = 10;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let setup = scenario::setup(&Credential::generate(), 100);
    scenario::start_kes(bench.pinning, &setup).await.kill().await;
    let (mut listening, mut ready) = (Vec::new(), Vec::new());
    bench.pinning.unpin_this_thread();
    for _ in 0..RUNS {
        let command = setup.command();
        let begin = Instant::now();
        let server = Server::launch(command, &setup.certificate_file()).await;
        listening.push(millis(begin.elapsed()));
        let mut client = server.connect(setup.admin()).await;
        while client.get("/v1/ready").await.status != 200 {}
        ready.push(millis(begin.elapsed()));
        server.kill().await;
    }
    bench.pinning.pin_this_thread();
    let row = Row::new("exec to ready, median of 10", median(ready), "ms").at_most(20.0);
    vec![row.also(format!("exec to listening: {}", text(median(listening), "ms")))]
}
