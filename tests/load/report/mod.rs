//! `load report`: everything that performance promises, in one run and one table.

mod audit;
mod cpu;
mod handshake;
mod list;
mod machine;
mod many;
mod memory;
mod open;
mod operations;
mod page;
mod serial;
mod start;
mod storm;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use kes_harness::Server;

use crate::load::{Shape, Until};
use crate::operation::Operation;
use crate::output::{note, say};
use crate::process::Places;
use crate::scene::Full;
use crate::subject::{Subject, alternate};
use table::Row;

/// What a quick run cuts every length by.
const QUICK: u32 = 5;

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Report {
    /// Whether it is the tool that is tried, not the server.
    pub(crate) is_quick: bool,
    /// Sections, separated by commas; all of them otherwise.
    pub(crate) only: Option<String>,
    /// The profile that the server was built with.
    pub(crate) profile: Option<String>,
    /// The page whose results are replaced.
    pub(crate) write: Option<PathBuf>,
}

/// How long and where everything is measured.
#[derive(Clone, Copy, Debug)]
struct Bench {
    places: Places,
    /// A turn of one server.
    turn: Duration,
    /// Turns of each.
    rounds: usize,
    /// Listings of each.
    listings: usize,
}

impl Bench {
    fn new(is_quick: bool) -> Self {
        let cut = if is_quick { QUICK } else { 1 };
        Self {
            places: Places::take(),
            turn: Duration::from_millis(500) / cut,
            rounds: 10,
            listings: 40 / usize::try_from(cut).unwrap_or(1),
        }
    }

    fn until(&self) -> Until {
        Until::Elapsed(self.turn)
    }

    /// Lets a floor and a server of ours take turns with decrypts, then ends both.
    async fn decrypts(&self, full: Full, floor: Server, shape: Shape) -> [Subject; 2] {
        let work = (shape, Operation::Decrypt);
        let mut subjects = [
            Subject::new("floor", &floor, &full.who, work).await,
            Subject::new("kes", &full.server, &full.who, work).await,
        ];
        alternate(&mut subjects, self.rounds, self.until()).await;
        floor.kill().await;
        full.end().await;
        subjects
    }
}

/// Measures, prints, and writes the page.
pub(crate) async fn measure(report: &Report) {
    let others = machine::Others::watch();
    let machine = machine::block(report.profile.as_deref()).await;
    let rows = sections(&Bench::new(report.is_quick), report.only.as_deref()).await;
    let results = format!("{machine}\n\n{}\n\n{}", table::lines(&rows), others.told());
    say(&results);
    if let Some(path) = &report.write {
        page::replace(path, &results);
    }
}

async fn sections(bench: &Bench, only: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, measure) in SECTIONS {
        if only.is_none_or(|only| only.split(',').any(|wanted| wanted == name)) {
            note(&format!("measuring: {name}"));
            rows.extend(measure(bench).await);
        }
    }
    rows
}

/// The first of these sections that there is not.
pub(crate) fn unknown_section(only: &str) -> Option<&str> {
    only.split(',').find(|wanted| !SECTIONS.iter().any(|(name, _)| name == wanted))
}

/// A part of the table, with servers of its own.
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
