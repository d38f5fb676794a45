//! Candidates: servers that are measured in alternation.

use kes_harness::{Credential, Server, Tls};

use crate::handshake::Handshaker;
use crate::load::{Counters, Load, Shape, Until};
use crate::number::{float, median, micros};
use crate::operation::Operation;
use crate::process::Cpu;
use crate::wire::Prepared;

/// A server, the requests that it is sent, and the results so far.
pub(crate) struct Candidate {
    name: &'static str,
    pid: u32,
    work: Work,
    pub(crate) total: Counters,
    turns: Vec<Turn>,
}

enum Work {
    Load(Load),
    Handshakes(Handshaker),
}

/// The result of one turn of a candidate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Processor time of the server, microseconds per request.
    pub(crate) cpu: f64,
    /// Median latency in microseconds.
    pub(crate) p50: f64,
    /// 99th percentile of the latency in microseconds.
    pub(crate) p99: f64,
    /// Duration of the turn.
    pub(crate) millis: f64,
}

impl Candidate {
    /// A candidate that is sent one operation repeatedly.
    pub(crate) async fn new(
        name: &'static str,
        server: &Server,
        credential: &Credential,
        (shape, operation): (Shape, Operation),
    ) -> Self {
        let dialer = server.dial().show(credential).over((shape.proto, Tls::V13));
        let requests = operation.requests(&dialer, shape.proto).await;
        Self::with(name, server, credential, (shape, requests)).await
    }

    /// A candidate that is sent these requests repeatedly.
    pub(crate) async fn with(
        name: &'static str,
        server: &Server,
        credential: &Credential,
        (shape, requests): (Shape, Vec<Prepared>),
    ) -> Self {
        let dialer = server.dial().show(credential).over((shape.proto, Tls::V13));
        let load = Load::open(&dialer, shape, requests).await;
        Self::doing(name, server, Work::Load(load))
    }

    /// A candidate with which TLS handshakes are made repeatedly.
    pub(crate) fn handshakes(name: &'static str, server: &Server, credential: &Credential) -> Self {
        Self::doing(name, server, Work::Handshakes(Handshaker::new(server, credential)))
    }

    fn doing(name: &'static str, server: &Server, work: Work) -> Self {
        Self { name, pid: server.pid(), work, total: Counters::new(), turns: Vec::new() }
    }

    /// Runs one turn; `counts` is false for a warm-up.
    pub(crate) async fn turn(&mut self, until: Until, counts: bool) {
        let before = Cpu::of(self.pid);
        let counters = match (&mut self.work, until) {
            (Work::Load(load), until) => load.run(until).await,
            (Work::Handshakes(handshaker), Until::Elapsed(length)) => handshaker.run(length).await,
            (Work::Handshakes(_), Until::Sent(_)) => {
                panic!("a number of handshakes cannot be asked for")
            }
        };
        let used = Cpu::of(self.pid).since(&before);
        assert_eq!(counters.failed, 0, "{}: {counters:?}", self.name);
        if counts {
            self.turns.push(Turn {
                cpu: micros(used) / float(counters.latencies.count()),
                p50: counters.latencies.micros(0.5),
                p99: counters.latencies.micros(0.99),
                millis: counters.length.as_secs_f64() * 1e3,
            });
            self.total.add(&counters);
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Computes the median of a figure over all turns.
    pub(crate) fn median(&self, of: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(of))
    }

    /// Computes the median of the ratios to the other candidate's turns of the same rounds.
    pub(crate) fn ratio_to(&self, other: &Self, of: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().zip(&other.turns).map(|(ours, theirs)| of(ours) / of(theirs)))
    }

    /// Computes the median of the differences from the other candidate's turns of the same rounds.
    pub(crate) fn over(&self, other: &Self, of: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().zip(&other.turns).map(|(ours, theirs)| of(ours) - of(theirs)))
    }
}

/// Runs `rounds` rounds of one turn each, after one round of warm-up. Every second round is in
/// reverse order, so that no candidate is always first.
pub(crate) async fn alternate(candidates: &mut [Candidate], rounds: usize, until: Until) {
    for round in 0..=rounds {
        for candidate in candidates.iter_mut() {
            candidate.turn(until, round > 0).await;
        }
        candidates.reverse();
    }
    // Restores the original order.
    if rounds.is_multiple_of(2) {
        candidates.reverse();
    }
}
