//! Logs refused connections and requests as warnings, folded by peer and reason.
//!
//! These refusals occur before an identity is known, so any client can cause them: a few lines per second are
//! logged for each peer and reason, then counts, in a table of limited size. A burst does not fill the log.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::log::fold::{Count, Kind};
use crate::log::folded::{FoldedLog, Reported};
use crate::log::refusal::Refusal;

/// Logs refusals. It is not used by accepted connections and requests, so its lock does not delay them.
pub(crate) type Refusals = FoldedLog<Refusal>;

impl Refusals {
    /// Logs a refusal, or counts it if there are many equal ones. `detail` is logged, and is ignored when
    /// refusals are compared.
    pub(crate) fn note(&self, peer: SocketAddr, refusal: &Refusal, detail: Option<&str>) {
        self.note_as(peer.ip(), &peer, refusal, detail);
    }

    /// Does the same for a peer whose port is not known.
    pub(crate) fn note_of(&self, ip: IpAddr, refusal: &Refusal, detail: Option<&str>) {
        self.note_as(ip, &ip, refusal, detail);
    }

    fn note_as(&self, ip: IpAddr, peer: &dyn Display, refusal: &Refusal, detail: Option<&str>) {
        if let Some(repeated) = self.take(&ip, refusal, 1) {
            warn(peer, refusal, detail, repeated);
        }
    }
}

impl Kind for Refusal {
    type Source = IpAddr;

    const WINDOW_MAX: Duration = Duration::from_mins(1);
    const COUNTS_MAX: usize = 5;
    const SOURCES_PER_KIND: usize = usize::MAX;
    const BURST_MAX: u64 = 20;

    fn lines_max(&self) -> u32 {
        5
    }

    fn various() -> Self {
        Self::new("refused", "various", "log.error: debug tells more")
    }
}

impl Reported for Refusal {
    fn report(count: &Count<Self>) {
        let peer = count.source.as_ref().map_or(&"several" as &dyn Display, |peer| peer);
        warn(peer, &count.kind, None, count.repeated);
    }
}

fn warn(peer: &dyn Display, refusal: &Refusal, detail: Option<&str>, repeated: u64) {
    let Refusal { what, reason, cure } = refusal;
    let repeated = (repeated > 0).then_some(repeated);
    tracing::warn!(%peer, reason = &**reason, cure = &**cure, detail, repeated, "{what}");
}
