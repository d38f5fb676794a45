//! From exec to the first answer.

use kes_harness::{Credential, Server};
use tokio::time::Instant;

use super::Bench;
use super::table::Row;
use crate::figure::{median, millis, text};
use crate::scene;

const RUNS: usize = 10;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let setup = scene::setup(&Credential::generate(), 100);
    scene::ours(bench.places, &setup).await.kill().await;
    let (mut listening, mut ready) = (Vec::new(), Vec::new());
    bench.places.spread();
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
    bench.places.gather();
    let row = Row::new("exec to ready, median of 10", median(ready), "ms").at_most(20.0);
    vec![row.also(format!("exec to listening: {}", text(median(listening), "ms")))]
}
