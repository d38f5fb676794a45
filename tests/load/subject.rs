//! Servers under measurement, which take turns.

use kes_harness::{Credential, Server, Tls};

use crate::figure::{median, micros, real};
use crate::handshake::Shaker;
use crate::load::{Load, Shape, Tally, Until};
use crate::operation::Operation;
use crate::process::Cpu;
use crate::wire::Prepared;

/// A server and what is asked of it.
pub(crate) struct Subject {
    name: &'static str,
    pid: u32,
    work: Work,
    pub(crate) total: Tally,
    turns: Vec<Turn>,
}

enum Work {
    Load(Load),
    Handshakes(Shaker),
}

/// What a turn gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Processor time of the server, microseconds per request.
    pub(crate) cpu: f64,
    /// Microseconds.
    pub(crate) p50: f64,
    /// Microseconds.
    pub(crate) p99: f64,
    /// How long it took.
    pub(crate) millis: f64,
}

impl Subject {
    /// Who does one operation over and over.
    pub(crate) async fn new(
        name: &'static str,
        server: &Server,
        who: &Credential,
        (shape, operation): (Shape, Operation),
    ) -> Self {
        let dialer = server.dial().show(who).over((shape.proto, Tls::V13));
        let requests = operation.requests(&dialer, shape.proto).await;
        Self::with(name, server, who, (shape, requests)).await
    }

    /// Who sends these requests over and over.
    pub(crate) async fn with(
        name: &'static str,
        server: &Server,
        who: &Credential,
        (shape, requests): (Shape, Vec<Prepared>),
    ) -> Self {
        let dialer = server.dial().show(who).over((shape.proto, Tls::V13));
        let load = Load::open(&dialer, shape, requests).await;
        Self::doing(name, server, Work::Load(load))
    }

    /// Who shakes hands over and over.
    pub(crate) fn handshakes(name: &'static str, server: &Server, who: &Credential) -> Self {
        Self::doing(name, server, Work::Handshakes(Shaker::new(server, who)))
    }

    fn doing(name: &'static str, server: &Server, work: Work) -> Self {
        Self { name, pid: server.pid(), work, total: Tally::new(), turns: Vec::new() }
    }

    /// One turn; the first ones of a server need not count.
    pub(crate) async fn turn(&mut self, until: Until, counts: bool) {
        let before = Cpu::of(self.pid);
        let tally = match (&mut self.work, until) {
            (Work::Load(load), until) => load.run(until).await,
            (Work::Handshakes(shaker), Until::Elapsed(length)) => shaker.run(length).await,
            (Work::Handshakes(_), Until::Sent(_)) => panic!("handshakes are not counted out"),
        };
        let used = Cpu::of(self.pid).since(&before);
        assert_eq!(tally.failed, 0, "{}: {tally:?}", self.name);
        if counts {
            self.turns.push(Turn {
                cpu: micros(used) / real(tally.latencies.count()),
                p50: tally.latencies.micros(0.5),
                p99: tally.latencies.micros(0.99),
                millis: tally.length.as_secs_f64() * 1e3,
            });
            self.total.add(&tally);
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The median of its turns.
    pub(crate) fn median(&self, of: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(of))
    }

    /// The median of the ratios of turns that followed one another.
    pub(crate) fn ratio_to(&self, other: &Self, of: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().zip(&other.turns).map(|(ours, theirs)| of(ours) / of(theirs)))
    }

    /// The median of the differences of turns that followed one another.
    pub(crate) fn over(&self, other: &Self, of: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().zip(&other.turns).map(|(ours, theirs)| of(ours) - of(theirs)))
    }
}

/// So many rounds, after one that does not count. Every second one goes backwards, so that nobody
/// is always first.
pub(crate) async fn alternate(subjects: &mut [Subject], rounds: usize, until: Until) {
    for round in 0..=rounds {
        for subject in subjects.iter_mut() {
            subject.turn(until, round > 0).await;
        }
        subjects.reverse();
    }
    // As they were given.
    if rounds.is_multiple_of(2) {
        subjects.reverse();
    }
}
