//! Measures the processor time of the audit log on standard output.

use kes_harness::Credential;
use serde_json::json;

use super::Bench;
use super::table::Row;
use crate::candidate::{Candidate, alternate};
use crate::load::Shape;
use crate::operation::Operation;
use crate::scenario;

const IDENTITIES: usize = 100;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let credential = Credential::generate();
    let setup = |audit: &str| {
        scenario::setup(&credential, IDENTITIES).with(json!({ "log": { "audit": audit } }))
    };
    let setups = [setup("off"), setup("on")];
    let off = scenario::start_kes(bench.pinning, &setups[0]).await;
    let on = scenario::start_kes(bench.pinning, &setups[1]).await;
    on.stdout().ignore();
    let work = (Shape::BUSY, Operation::Decrypt);
    let mut candidates = [
        Candidate::new("off", &off, &credential, work).await,
        Candidate::new("on", &on, &credential, work).await,
    ];
    alternate(&mut candidates, bench.rounds, bench.until()).await;
    off.kill().await;
    on.kill().await;
    let [off, on] = &candidates;
    let added = on.over(off, |turn| turn.cpu);
    let row = Row::new("audit log on standard output: CPU added", added, "µs")
        .of((on.median(|turn| turn.cpu), off.median(|turn| turn.cpu)), "µs");
    vec![row.at_most(1.0).also("against the log switched off".to_owned())]
}
