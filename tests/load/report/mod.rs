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

use crate::load::Until;
use crate::output::{note, say};
use crate::process::Places;
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
}

/// Measures, prints, and writes the page.
pub(crate) async fn measure(report: &Report) {
    let others = machine::Others::watch();
    let machine = machine::block(report.profile.as_deref()).await;
    let rows = sections(&Bench::new(report.is_quick), report.only.as_deref()).await;
    let table = table::lines(&rows);
    let took = others.told();
    say(&format!("{machine}\n\n{table}\n\n{took}"));
    if let Some(path) = &report.write {
        page::replace(path, &format!("{machine}\n\n{table}\n\n{took}"));
    }
}

async fn sections(bench: &Bench, only: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    for section in Section::ALL {
        let is_wanted = only.is_none_or(|only| only.split(',').any(|name| name == section.name()));
        if is_wanted {
            note(&format!("measuring: {}", section.name()));
            rows.extend(section.measure(bench).await);
        }
    }
    rows
}

/// A part of the table, with servers of its own.
#[derive(Clone, Copy, Debug)]
enum Section {
    Serial,
    Cpu,
    Handshake,
    Audit,
    Many,
    Memory,
    Start,
    List,
    Storm,
    Open,
    Operations,
}

impl Section {
    const ALL: [Self; 11] = [
        Self::Serial,
        Self::Cpu,
        Self::Handshake,
        Self::Audit,
        Self::Many,
        Self::Memory,
        Self::Start,
        Self::List,
        Self::Storm,
        Self::Open,
        Self::Operations,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Cpu => "cpu",
            Self::Handshake => "handshake",
            Self::Audit => "audit",
            Self::Many => "many",
            Self::Memory => "memory",
            Self::Start => "start",
            Self::List => "list",
            Self::Storm => "storm",
            Self::Open => "open",
            Self::Operations => "operations",
        }
    }

    async fn measure(self, bench: &Bench) -> Vec<Row> {
        match self {
            Self::Serial => serial::measure(bench).await,
            Self::Cpu => cpu::measure(bench).await,
            Self::Handshake => handshake::measure(bench).await,
            Self::Audit => audit::measure(bench).await,
            Self::Many => many::measure(bench).await,
            Self::Memory => memory::measure(bench).await,
            Self::Start => start::measure(bench).await,
            Self::List => list::measure(bench).await,
            Self::Storm => storm::measure(bench).await,
            Self::Open => open::measure(bench).await,
            Self::Operations => operations::measure(bench).await,
        }
    }
}
