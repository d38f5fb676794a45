//! Whether much of everything costs more than little.

use kes_harness::{Credential, Server};

use super::Bench;
use super::table::Row;
use crate::load::Shape;
use crate::operation::{self, KEY};
use crate::scene;
use crate::subject::{Subject, alternate};
use crate::wire::Wire;

/// Keys of the larger server, all of them cached; both clients go through as many ciphertexts.
const KEYS: usize = 10_000;

/// Policies of the larger server, with five identities each.
const POLICIES: usize = 200;

const IDENTITIES: usize = 5;

pub(super) async fn measure(bench: &Bench) -> Vec<Row> {
    let who = Credential::generate();
    let few = scene::setup(&who, 1);
    let many = scene::setup(&who, IDENTITIES).with(scene::strangers(POLICIES - 1, IDENTITIES));
    let names: Vec<String> = (0..KEYS).map(|number| format!("{KEY}-{number}")).collect();
    let (small, large) =
        (scene::ours(bench.places, &few).await, scene::ours(bench.places, &many).await);
    scene::copies(&many, &names);
    let mut subjects = [
        subject("few", &small, &who, &vec![KEY.to_owned(); KEYS]).await,
        subject("many", &large, &who, &names).await,
    ];
    alternate(&mut subjects, bench.rounds, bench.until()).await;
    small.kill().await;
    large.kill().await;
    let [few, many] = &subjects;
    let what = "10,000 keys, 1,000 identities, 200 policies: CPU per decrypt";
    let row = Row::ratio(what, (many, few), |turn| turn.cpu, "µs");
    vec![row.at_most(1.10).also("against kes with one of each".to_owned())]
}

async fn subject(
    name: &'static str,
    server: &Server,
    who: &Credential,
    keys: &[String],
) -> Subject {
    let mut wire = Wire::open(&server.dial().show(who), Shape::BUSY.proto).await;
    let requests = operation::decrypts(&mut wire, keys).await;
    Subject::with(name, server, who, (Shape::BUSY, requests)).await
}
