//! The log of refusals: warnings about connections and requests that were refused before it was known
//! who they are from, folded per peer and reason.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kes_types::Clock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::fold::{Count, Fold};
use crate::refusal::Refusal;

/// How often counts are looked at while there may be some.
const INTERVAL: Duration = Duration::from_secs(1);

/// Logs refusals. Good connections and requests have nothing to do with it.
#[derive(Debug)]
pub(crate) struct Refusals {
    fold: Mutex<Fold>,
    noted: Notify,
    clock: Arc<dyn Clock>,
}

impl Refusals {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let fold = Mutex::new(Fold::new(clock.monotonic()));
        Arc::new(Self { fold, noted: Notify::new(), clock })
    }

    /// Logs a refusal, or counts it when there are many like it. What `detail` tells is shown, and
    /// is not part of what refusals are folded by.
    pub(crate) fn note(&self, peer: SocketAddr, refusal: &Refusal, detail: Option<&str>) {
        self.note_as(peer.ip(), &peer, refusal, detail);
    }

    /// The same, where the port is not known.
    pub(crate) fn note_of(&self, ip: IpAddr, refusal: &Refusal, detail: Option<&str>) {
        self.note_as(ip, &ip, refusal, detail);
    }

    fn note_as(&self, ip: IpAddr, peer: &dyn Display, refusal: &Refusal, detail: Option<&str>) {
        let line = self.fold().note(self.clock.monotonic(), ip, refusal);
        self.noted.notify_one();
        if let Some(repeated) = line {
            warn(peer, refusal, detail, repeated);
        }
    }

    /// Reports counts when they are due, until `stop`.
    pub(crate) async fn report_until(self: Arc<Self>, stop: CancellationToken) {
        let report = async {
            loop {
                self.noted.notified().await;
                while !self.fold().is_empty() {
                    tokio::time::sleep(INTERVAL).await;
                    let due = self.fold().due(self.clock.monotonic());
                    due.iter().for_each(log);
                }
            }
        };
        let _: Option<()> = stop.run_until_cancelled(report).await;
    }

    /// Reports what is left.
    pub(crate) fn finish(&self) {
        let counts = self.fold().finish();
        counts.iter().for_each(log);
    }

    fn fold(&self) -> MutexGuard<'_, Fold> {
        self.fold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(count: &Count) {
    let peer = count.peer.as_ref().map_or(&"several" as &dyn Display, |peer| peer);
    warn(peer, &count.refusal, None, count.repeated);
}

fn warn(peer: &dyn Display, refusal: &Refusal, detail: Option<&str>, repeated: u64) {
    let Refusal { what, reason, cure } = refusal;
    let repeated = (repeated > 0).then_some(repeated);
    tracing::warn!(%peer, reason = &**reason, cure = &**cure, detail, repeated, "{what}");
}
