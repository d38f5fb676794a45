//! `load report`: measures every row of `docs/performance.md` in one run.

mod audit;
mod cpu;
mod document;
mod handshake;
mod list;
mod machine;
mod many;
mod memory;
mod open;
mod operations;
mod serial;
mod start;
mod storm;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kes_harness::Server;

use crate::candidate::{Candidate, alternate};
use crate::load::{Shape, Until};
use crate::operation::Operation;
use crate::output::{print_progress, print_result};
use crate::process::Pinning;
use crate::scenario::FullScenario;
use table::Row;

/// The factor by which a quick run shortens every measurement.
const QUICK: u32 = 5;

/// The options of `load report`.
#[derive(Debug)]
pub(crate) struct Report {
    /// Whether measurements are shortened, to try the tool itself.
    pub(crate) is_quick: bool,
    /// Names of sections, separated by commas; all sections if none.
    pub(crate) only: Option<String>,
    /// The profile that the server was built with.
    pub(crate) profile: Option<String>,
    /// The document whose results are replaced.
    pub(crate) write: Option<PathBuf>,
}

/// Lengths and CPU pinning of all measurements.
#[derive(Clone, Copy, Debug)]
struct Bench {
    pinning: Pinning,
    /// Length of one turn of a candidate.
    turn: Duration,
    /// Number of turns of each candidate.
    rounds: usize,
    /// Number of listings of each candidate.
    listings: usize,
}

impl Bench {
    fn new(is_quick: bool) -> Self {
        let cut = if is_quick { QUICK } else { 1 };
        Self {
            pinning: Pinning::take(),
            turn: Duration::from_millis(500) / cut,
            rounds: 10,
            listings: 40 / usize::try_from(cut).unwrap_or(1),
        }
    }

    fn until(&self) -> Until {
        Until::Elapsed(self.turn)
    }

    /// Measures decrypts of a floor and a key server in alternation, then ends both.
    async fn decrypts(&self, full: FullScenario, floor: Server, shape: Shape) -> [Candidate; 2] {
        let work = (shape, Operation::Decrypt);
        let mut candidates = [
            Candidate::new("floor", &floor, &full.credential, work).await,
            Candidate::new("kes", &full.server, &full.credential, work).await,
        ];
        alternate(&mut candidates, self.rounds, self.until()).await;
        floor.kill().await;
        full.end().await;
        candidates
    }
}

/// Measures, prints the table, and writes the document.
pub(crate) async fn measure(report: &Report) {
    let others = machine::Others::watch();
    let machine = machine::block(report.profile.as_deref()).await;
    let rows = sections(&Bench::new(report.is_quick), report.only.as_deref()).await;
    let results = format!("{machine}\n\n{}\n\n{}", table::lines(&rows), others.summary());
    print_result(&results);
    if let Some(path) = &report.write {
        document::replace(path, &results);
    }
}

async fn sections(bench: &Bench, only: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, measure) in SECTIONS {
        if only.is_none_or(|only| only.split(',').any(|wanted| wanted == name)) {
            print_progress(&format!("measuring: {name}"));
            rows.extend(measure(bench).await);
        }
    }
    rows
}

/// Returns the first name that is not a section's.
pub(crate) fn unknown_section(only: &str) -> Option<&str> {
    only.split(',').find(|wanted| !SECTIONS.iter().any(|(name, _)| name == wanted))
}

/// A part of the table, measured on servers of its own.
type Section = (&'static str, for<'a> fn(&'a Bench) -> BoxFuture<'a, Vec<Row>>);

const SECTIONS: [Section; 11] = [
    ("serial", |bench| Box::pin(serial::measure(bench))),
    ("cpu", |bench| Box::pin(cpu::measure(bench))),
    ("handshake", |bench| Box::pin(handshake::measure(bench))),
    ("audit", |bench| Box::pin(audit::measure(bench))),
    ("many", |bench| Box::pin(many::measure(bench))),
    ("memory", |bench| Box::pin(memory::measure(bench))),
    ("start", |bench| Box::pin(start::measure(bench))),
    ("list", |bench| Box::pin(list::measure(bench))),
    ("storm", |bench| Box::pin(storm::measure(bench))),
    ("open", |bench| Box::pin(open::measure(bench))),
    ("operations", |bench| Box::pin(operations::measure(bench))),
];
