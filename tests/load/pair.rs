//! `load pair`: one measurement of the server against the floor.

use std::time::Duration;

use kes_harness::{Credential, Setup};
use serde_json::json;

use crate::background::AuditSubscriber;
use crate::candidate::{Candidate, alternate};
use crate::load::{Shape, Until};
use crate::operation::Operation;
use crate::output::print_result;
use crate::process::Pinning;
use crate::scenario;

/// The options of `load pair`.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) shape: Shape,
    /// The operation to measure; TLS handshakes if none.
    pub(crate) operation: Option<Operation>,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    /// Whether the server has a policy with one identity and no subscriber of its audit log.
    pub(crate) is_bare: bool,
    pub(crate) audit_to_stdout: bool,
    /// Whether the floor runs each h2 stream as a task of its own, as hyper's examples do.
    pub(crate) plain_floor: bool,
}

/// Measures and prints the results.
pub(crate) async fn measure(pair: &Pair) {
    let pinning = Pinning::take();
    let credential = Credential::generate();
    let setup = setup(&credential, pair);
    let ours = scenario::start_kes(pinning, &setup).await;
    ours.stdout().ignore();
    let mut subscriber = None;
    if !pair.is_bare {
        subscriber = Some(AuditSubscriber::of(&ours, setup.admin()).await);
    }
    let floor = scenario::start_floor(pinning, &setup, !pair.plain_floor).await;
    let mut candidates = Vec::new();
    for (name, server) in [("floor", &floor), ("kes", &ours)] {
        candidates.push(match pair.operation {
            Some(operation) => {
                Candidate::new(name, server, &credential, (pair.shape, operation)).await
            }
            None => Candidate::handshakes(name, server, &credential),
        });
    }
    alternate(&mut candidates, pair.rounds, Until::Elapsed(pair.length)).await;
    if let Some(subscriber) = subscriber {
        subscriber.assert_subscribed();
    }
    print(&candidates);
    ours.kill().await;
    floor.kill().await;
}

fn setup(credential: &Credential, pair: &Pair) -> Setup {
    let audit = if pair.audit_to_stdout { "on" } else { "off" };
    let identities = if pair.is_bare { 1 } else { 100 };
    scenario::setup(credential, identities).with(json!({ "log": { "audit": audit } }))
}

fn print(candidates: &[Candidate]) {
    for candidate in candidates {
        let latencies = &candidate.total.latencies;
        print_result(&format!(
            "{:<6} cpu {:6.2} us  p50 {:7.1}  p99 {:7.1}  p99.9 {:7.1}  requests {}",
            candidate.name(),
            candidate.median(|turn| turn.cpu),
            latencies.micros(0.5),
            latencies.micros(0.99),
            latencies.micros(0.999),
            latencies.count()
        ));
    }
    let [floor, ours] = candidates else { return };
    print_result(&format!(
        "ratio  cpu {:.3}  p50 {:.3}  p99 {:.3}",
        ours.ratio_to(floor, |turn| turn.cpu),
        ours.ratio_to(floor, |turn| turn.p50),
        ours.ratio_to(floor, |turn| turn.p99)
    ));
}
