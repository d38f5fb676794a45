//! What the audit log on the standard output costs.

use kes_harness::Credential;
use serde_json::json;

use super::Bench;
use super::table::Row;
use crate::load::Shape;
use crate::operation::Operation;
use crate::scene;
use crate::subject::{Subject, alternate};

const IDENTITIES: usize = 100;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let who = Credential::generate();
    let setup =
        |audit: &str| scene::setup(&who, IDENTITIES).with(json!({ "log": { "audit": audit } }));
    let setups = [setup("off"), setup("on")];
    let off = scene::ours(bench.places, &setups[0]).await;
    let on = scene::ours(bench.places, &setups[1]).await;
    on.stdout().ignore();
    let work = (Shape::BUSY, Operation::Decrypt);
    let mut subjects =
        [Subject::new("off", &off, &who, work).await, Subject::new("on", &on, &who, work).await];
    alternate(&mut subjects, bench.rounds, bench.until()).await;
    off.kill().await;
    on.kill().await;
    let [off, on] = &subjects;
    let added = on.over(off, |turn| turn.cpu);
    let row = Row::new("audit log on standard output: CPU added", added, "µs")
        .of((on.median(|turn| turn.cpu), off.median(|turn| turn.cpu)), "µs");
    vec![row.at_most(1.0).also("against the log switched off".to_owned())]
}
