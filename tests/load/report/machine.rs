//! Describes the machine and the builds that were measured.

use std::fs;

use kes_harness::{finish, kes};
use time::OffsetDateTime;
use tokio::process::Command;
use tokio::time::Instant;

use crate::number::float;
use crate::process::ticks;

/// A Markdown list for the document.
pub(super) async fn block(profile: Option<&str>) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let values = |name: &str| {
        let lines = info.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| Some(line.split_once(':')?.1.trim().to_owned())).collect::<Vec<_>>()
    };
    let model = values("model name").into_iter().next().unwrap_or_else(|| "unknown".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = kes().run(&["--version"]).await.ok();
    let rows = [
        ("processor", model),
        ("processors", values("processor").len().to_string()),
        ("kernel", format!("Linux {}", kernel.trim())),
        ("date", OffsetDateTime::now_utc().date().to_string()),
        ("server", version.trim().to_owned()),
        ("profile", profile.unwrap_or("unknown").to_owned()),
        ("tool", commit().await),
    ];
    rows.map(|(name, value)| format!("- {name}: {value}")).join("\n")
}

/// The commit of the working tree, and whether the tree has uncommitted changes.
async fn commit() -> String {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.args(arguments);
        git
    };
    let mut head = git(&["rev-parse", "--short", "HEAD"]);
    let mut changes = git(&["status", "--porcelain", "--untracked-files=no"]);
    let (head, changes) = (finish(&mut head).await, finish(&mut changes).await);
    match (head.code, changes.stdout.is_empty()) {
        (Some(0), true) => format!("commit {}", head.stdout.trim()),
        (Some(0), false) => format!("commit {}, with changes", head.stdout.trim()),
        _ => "unknown".to_owned(),
    }
}

/// Processor time of other processes and of the hypervisor (steal), in ticks.
pub(super) struct Others {
    begin: Instant,
    total: u64,
    used: u64,
    stolen: u64,
}

impl Others {
    /// Takes the first sample.
    pub(super) fn watch() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let numbers =
            |text: &str| text.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        let all: Vec<u64> = stat.lines().next().map(numbers).unwrap_or_default();
        let of = |index: usize| all.get(index).copied().unwrap_or_default();
        // user, nice, system, idle, iowait, irq, softirq, steal
        let busy = of(0) + of(1) + of(2) + of(5) + of(6);
        Self {
            begin: Instant::now(),
            total: busy + of(3) + of(4) + of(7),
            // Without the time of this process and of its children that have ended.
            used: busy.saturating_sub(ticks("self", 4)),
            stolen: of(7),
        }
    }

    /// Describes in a sentence what was used since the first sample.
    pub(super) fn summary(&self) -> String {
        let now = Self::watch();
        let total = now.total.saturating_sub(self.total).max(1);
        let share =
            |now: u64, before: u64| 100.0 * float(now.saturating_sub(before)) / float(total);
        format!(
            "Measured in {} s. Meanwhile {:.0} % of the processors' time went to other processes and \
             {:.0} % to other machines.",
            self.begin.elapsed().as_secs(),
            share(now.used, self.used),
            share(now.stolen, self.stolen)
        )
    }
}
