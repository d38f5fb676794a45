//! `load pair`: one measurement, ours against the floor.

use std::time::Duration;

use kes_harness::{Credential, Setup};
use serde_json::json;

use crate::beside::Follower;
use crate::load::{Shape, Until};
use crate::operation::Operation;
use crate::output::say;
use crate::process::Places;
use crate::scene;
use crate::subject::{Subject, alternate};

/// One measurement.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) shape: Shape,
    /// Handshakes, where there is none.
    pub(crate) operation: Option<Operation>,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    /// Whether ours has a policy of one identity and nobody follows its audit log.
    pub(crate) is_bare: bool,
    pub(crate) audit_to_stdout: bool,
    /// Whether the floor is as hyper's documentation has it.
    pub(crate) plain_floor: bool,
}

/// Measures and prints.
pub(crate) async fn measure(pair: &Pair) {
    let places = Places::take();
    let who = Credential::generate();
    let setup = setup(&who, pair);
    let ours = scene::ours(places, &setup).await;
    ours.stdout().ignore();
    let mut follower = None;
    if !pair.is_bare {
        follower = Some(Follower::of(&ours, setup.admin()).await);
    }
    let floor = scene::floor(places, &setup, !pair.plain_floor).await;
    let mut subjects = Vec::new();
    for (name, server) in [("floor", &floor), ("kes", &ours)] {
        subjects.push(match pair.operation {
            Some(operation) => Subject::new(name, server, &who, (pair.shape, operation)).await,
            None => Subject::handshakes(name, server, &who),
        });
    }
    alternate(&mut subjects, pair.rounds, Until::Elapsed(pair.length)).await;
    if let Some(follower) = follower {
        follower.still_follows();
    }
    print(&subjects);
    ours.kill().await;
    floor.kill().await;
}

fn setup(who: &Credential, pair: &Pair) -> Setup {
    let audit = if pair.audit_to_stdout { "on" } else { "off" };
    let identities = if pair.is_bare { 1 } else { 100 };
    scene::setup(who, identities).with(json!({ "log": { "audit": audit } }))
}

fn print(subjects: &[Subject]) {
    for subject in subjects {
        let latencies = &subject.total.latencies;
        say(&format!(
            "{:<6} cpu {:6.2} us  p50 {:7.1}  p99 {:7.1}  p99.9 {:7.1}  requests {}",
            subject.name(),
            subject.median(|turn| turn.cpu),
            latencies.micros(0.5),
            latencies.micros(0.99),
            latencies.micros(0.999),
            latencies.count()
        ));
    }
    let [floor, ours] = subjects else { return };
    say(&format!(
        "ratio  cpu {:.3}  p50 {:.3}  p99 {:.3}",
        ours.ratio_to(floor, |turn| turn.cpu),
        ours.ratio_to(floor, |turn| turn.p50),
        ours.ratio_to(floor, |turn| turn.p99)
    ));
}
