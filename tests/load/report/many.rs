//! Measures what a decrypt costs with many keys, identities and policies.

use kes_harness::{Credential, Server};

use super::Bench;
use super::table::Row;
use crate::candidate::{Candidate, alternate};
use crate::load::Shape;
use crate::operation::{self, KEY};
use crate::scenario;
use crate::wire::Wire;

/// Keys of the larger server, all of them cached. Both servers are sent this many different
/// ciphertexts.
const KEYS: usize = 10_000;

/// Policies of the larger server, with five identities each.
const POLICIES: usize = 200;

const IDENTITIES: usize = 5;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let credential = Credential::generate();
    let few = scenario::setup(&credential, 1);
    let many = scenario::setup(&credential, IDENTITIES)
        .with(scenario::unrelated_policies(POLICIES - 1, IDENTITIES));
    let names: Vec<String> = (0..KEYS).map(|number| format!("{KEY}-{number}")).collect();
    let (small, large) = (
        scenario::start_kes(bench.pinning, &few).await,
        scenario::start_kes(bench.pinning, &many).await,
    );
    scenario::copy_key(&many, &names);
    let mut candidates = [
        candidate("few", &small, &credential, &vec![KEY.to_owned(); KEYS]).await,
        candidate("many", &large, &credential, &names).await,
    ];
    alternate(&mut candidates, bench.rounds, bench.until()).await;
    small.kill().await;
    large.kill().await;
    let [few, many] = &candidates;
    let what = "10,000 keys, 1,000 identities, 200 policies: CPU per decrypt";
    let row = Row::ratio(what, (many, few), |turn| turn.cpu, "µs");
    vec![row.at_most(1.10).also("against kes with one of each".to_owned())]
}

async fn candidate(
    name: &'static str,
    server: &Server,
    credential: &Credential,
    keys: &[String],
) -> Candidate {
    let mut wire = Wire::open(&server.dial().show(credential), Shape::BUSY.proto).await;
    let requests = operation::decrypts(&mut wire, keys).await;
    Candidate::with(name, server, credential, (Shape::BUSY, requests)).await
}
