//! Probes whether AWS is reachable and accepts the credentials.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::auth::session;
use crate::error::AwsError;
use crate::error::refusal::Refusal;
use crate::key::secrets_manager::{INVALID, NOT_FOUND, SecretsManager};
use kes_store::Deadline;
use kes_types::lock;

/// How long a successful probe is valid, unless a call fails.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// Caches successful health probes.
#[derive(Debug, Default)]
pub(crate) struct Health {
    good: Mutex<Option<Good>>,
}

/// A successful probe.
#[derive(Clone, Copy, Debug)]
struct Good {
    at: Instant,
    latency: Duration,
}

impl Health {
    /// Sends a request to Secrets Manager that requires valid credentials. Returns how long the
    /// response took.
    pub(crate) async fn check(&self, manager: &SecretsManager) -> Result<Duration, AwsError> {
        let session = &manager.session;
        let start = session.now();
        let is_in_doubt = session.take_doubt();
        let is_good = |good: &Good| start.saturating_duration_since(good.at) < GOOD_FOR;
        let known = *lock(&self.good);
        if let Some(good) = known.filter(is_good).filter(|_| !is_in_doubt) {
            return Ok(good.latency);
        }
        let deadline = session::deadline();
        let verdict = match manager.ping(deadline).await {
            Err(error) if error.refusal().is_some_and(Refusal::is_denial) => {
                self.can_read(manager, deadline).await
            }
            answer => answer,
        };
        let latency = session.now().saturating_duration_since(start);
        let good = verdict.is_ok().then_some(Good { at: start, latency });
        *lock(&self.good) = good;
        verdict.map(|()| latency)
    }

    /// Probes by reading, where listing is denied: a denial proves that the credentials are valid.
    /// At least one of the secrets that were read before must still be readable. A single denial is
    /// not enough to fail, because it may concern that secret only.
    async fn can_read(&self, manager: &SecretsManager, deadline: Deadline) -> Result<(), AwsError> {
        let mut denied = None;
        for secret in manager.session.read() {
            match manager.current(&secret, deadline).await {
                Ok(_) => return Ok(()),
                // AWS responded that it was deleted.
                Err(error) if error.has_code(NOT_FOUND) || error.has_code(INVALID) => {
                    return Ok(());
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => denied = denied.or(Some(error)),
            }
        }
        denied.map_or(Ok(()), Err)
    }
}
