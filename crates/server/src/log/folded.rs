//! Logs the first events of a kind as lines, and reports further ones as counts.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kes_types::{Clock, lock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::log::fold::{Count, Fold, Kind};

/// How often due counts are reported while there are events.
const INTERVAL: Duration = Duration::from_secs(1);

/// Events whose counts can be logged.
pub(crate) trait Reported: Kind {
    /// Logs a count.
    fn report(count: &Count<Self>);
}

/// Folds events and reports their counts.
#[derive(Debug)]
pub(crate) struct FoldedLog<K: Kind> {
    fold: Mutex<Fold<K>>,
    noted: Notify,
    clock: Arc<dyn Clock>,
}

impl<K: Reported> FoldedLog<K> {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let fold = Mutex::new(Fold::new(clock.monotonic()));
        Arc::new(Self { fold, noted: Notify::new(), clock })
    }

    /// Counts `times` events. If one of them has to be logged at once, returns how many further events the line
    /// includes.
    pub(crate) fn take(&self, source: &K::Source, kind: &K, times: u64) -> Option<u64> {
        let line = self.fold().note(self.clock.monotonic(), source, kind, times);
        self.noted.notify_one();
        line
    }

    /// Reports counts when they are due, until `stop`.
    pub(crate) async fn report_until(self: Arc<Self>, stop: CancellationToken) {
        let report = async {
            loop {
                self.noted.notified().await;
                while !self.fold().is_empty() {
                    tokio::time::sleep(INTERVAL).await;
                    let due = self.fold().due(self.clock.monotonic());
                    due.iter().for_each(K::report);
                }
            }
        };
        let _: Option<()> = stop.run_until_cancelled(report).await;
    }

    /// Reports the remaining counts.
    pub(crate) fn finish(&self) {
        let counts = self.fold().finish();
        counts.iter().for_each(K::report);
    }

    fn fold(&self) -> MutexGuard<'_, Fold<K>> {
        lock(&self.fold)
    }
}
