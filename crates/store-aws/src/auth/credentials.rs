//! Decides when credentials are refreshed, and which of two are used. The functions are pure: time
//! and jitter are arguments.

use std::time::{Duration, Instant, SystemTime};

use aws_sdk_secretsmanager::config::Credentials;
use kes_store::Backoff;
use subtle::ConstantTimeEq as _;

use crate::NOTICE;
use crate::error::sanitized::SanitizedError;

/// The minimum interval between two refreshes, however often requests need new credentials.
pub(super) const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum remaining lifetime at which credentials are refreshed; for short lifetimes a quarter
/// of the lifetime.
const LEFT_MAX: Duration = Duration::from_mins(5);

/// The maximum interval until the next refresh after a source returned the same credentials again.
const SAME_WAIT_MAX: Duration = Duration::from_mins(1);

/// The backoff after consecutive failures.
const BACKOFF: Backoff =
    Backoff { first: MIN_INTERVAL, max: Duration::from_mins(1), jitter_share: 0.5 };

/// Numbers credentials in the order in which they were loaded; 0 means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CredentialGeneration(pub(super) u64);

#[derive(Clone, Default)]
pub(super) struct CredentialState {
    pub(super) held: Option<Credentials>,
    pub(super) generation: CredentialGeneration,
    /// When these credentials were loaded.
    pub(super) held_at: Option<Instant>,
    /// When the last load was started.
    pub(super) asked_at: Option<Instant>,
    /// When the last load ended, or timed out.
    pub(super) answered_at: Option<Instant>,
    /// Why the last load failed, if it failed.
    pub(super) last_error: Option<SanitizedError>,
    /// The number of consecutive failures.
    failures: u32,
    /// When to refresh, so that the credentials do not expire.
    pub(super) due_at: Option<Instant>,
}

impl CredentialState {
    /// Rejects credentials that have expired, while the current ones have not.
    pub(super) fn worth_having(
        &self,
        new: Credentials,
        now: SystemTime,
    ) -> Result<Credentials, SanitizedError> {
        let has_expired = |it: &Credentials| it.expiry().is_some_and(|expiry| expiry <= now);
        if has_expired(&new) && self.held.as_ref().is_some_and(|held| !has_expired(held)) {
            return Err(SanitizedError::new("the source gives credentials that have expired"));
        }
        Ok(new)
    }

    /// Replaces the current credentials; returns the time until the next refresh.
    pub(super) fn take(&mut self, credentials: Credentials, now: SystemTime) -> Option<Duration> {
        if std::mem::take(&mut self.failures) > 0 {
            tracing::warn!(target: NOTICE, "the AWS credentials can be refreshed again");
        }
        self.last_error = None;
        let is_new = !self.held.as_ref().is_some_and(|held| are_same(held, &credentials));
        let expiry = credentials.expiry();
        self.held = Some(credentials);
        self.generation = CredentialGeneration(self.generation.0 + u64::from(is_new));
        expiry.map(|expiry| refresh_in(left(expiry, now), is_new))
    }

    /// Records the failure of a refresh; returns the time until the next attempt.
    pub(super) fn fail(&mut self, error: SanitizedError, now: SystemTime, jitter: f64) -> Duration {
        if self.failures == 0 {
            let cause: &dyn std::error::Error = &error;
            let expiry = self.held.as_ref().and_then(Credentials::expiry);
            let left_seconds = expiry.map(|expiry| left(expiry, now).as_secs());
            tracing::error!(cause, left_seconds, "the AWS credentials cannot be refreshed");
        }
        self.last_error = Some(error);
        self.failures = self.failures.saturating_add(1);
        BACKOFF.delay(self.failures - 1, jitter)
    }
}

/// Returns whether two credentials produce the same signatures. The expiry is ignored: the SDK
/// extends it for credentials that EC2 did not replace in time.
fn are_same(one: &Credentials, other: &Credentials) -> bool {
    one.access_key_id() == other.access_key_id()
        && one.session_token() == other.session_token()
        && one.secret_access_key().as_bytes().ct_eq(other.secret_access_key().as_bytes()).into()
}

fn left(expiry: SystemTime, now: SystemTime) -> Duration {
    expiry.duration_since(now).unwrap_or_default()
}

/// Returns the time until the next refresh of credentials with this remaining lifetime. If the
/// source returned the same credentials again, it has no new ones yet: EC2 provides them a few
/// minutes before the expiry.
fn refresh_in(left: Duration, is_new: bool) -> Duration {
    let wait = if is_new || left > LEFT_MAX * 2 {
        left.saturating_sub(LEFT_MAX.min(left / 4))
    } else {
        SAME_WAIT_MAX.min(left / 2)
    };
    wait.max(MIN_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn credentials_are_replaced_well_before_they_expire() {
        assert_eq!(refresh_in(S * 3600 * 6, true), S * (3600 * 6 - 300));
        assert_eq!(refresh_in(S * 900, true), S * (900 - 225));
        assert_eq!(refresh_in(S * 8, true), S * 6);
        // A source without new credentials is called again at decreasing intervals.
        assert_eq!(refresh_in(S * 300, false), S * 60);
        assert_eq!(refresh_in(S * 3600, false), S * 3300);
        assert_eq!(refresh_in(S * 60, false), S * 30);
        for is_new in [true, false] {
            assert_eq!(refresh_in(Duration::ZERO, is_new), MIN_INTERVAL);
        }
    }

    #[test]
    fn expired_credentials_do_not_replace_good_ones() {
        let now = SystemTime::UNIX_EPOCH + S * 1000;
        let credentials = |expiry| Credentials::new("A", "s", None, Some(expiry), "test");
        let mut state = CredentialState::default();
        assert!(state.worth_having(credentials(now - S), now).is_ok());
        state.take(credentials(now + S), now);
        assert!(state.worth_having(credentials(now - S), now).is_err());
        assert!(state.worth_having(credentials(now + S), now).is_ok());
        assert!(state.worth_having(credentials(now - S), now + S).is_ok());
    }
}
