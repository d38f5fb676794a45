//! Refreshes AWS credentials in the background, before they expire, so that no request waits for
//! new credentials while the old ones are valid.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_secretsmanager::config::{Credentials, ProvideCredentials};
use kes_store::{Backoff, Deadline};
use kes_types::{Clock, lock};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::credentials::{CredentialGeneration, CredentialState, MIN_INTERVAL};
use crate::auth::session::OPERATION_TIMEOUT;
use crate::auth::source::{Source, no_answer, sendable};
use crate::error::AwsError;
use crate::error::sanitized::SanitizedError;

/// The result of a load; none if the server shut down before.
type LoadResult = Option<Result<Credentials, SanitizedError>>;

/// How long a request waits for a load of credentials.
const LOAD_TIMEOUT: Duration = Duration::from_secs(8);

/// The timeout of a load, whether or not a request waits for it.
const GIVE_UP_AFTER: Duration = Duration::from_mins(5);

/// How long before their expiry credentials are no longer used, because a request takes time to
/// arrive.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// The minimum intervals between two loads because of denied requests: they double after each load.
const DENIED_INTERVALS: Backoff =
    Backoff { first: Duration::from_mins(1), max: Duration::from_hours(1), jitter_share: 0.0 };

/// Holds the current AWS credentials, provides them to the SDK, and refreshes them.
pub(crate) struct CredentialRefresher {
    source: Source,
    clock: Arc<dyn Clock>,
    state: watch::Sender<CredentialState>,
    /// The load in progress. The lock is held by the request that waits for it.
    loading: Mutex<Option<JoinHandle<LoadResult>>>,
    denials: std::sync::Mutex<Denials>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Counts the loads because of denied requests.
#[derive(Debug, Default)]
struct Denials {
    asked_at: Option<Instant>,
    /// The number of consecutive loads before the last one.
    times: u32,
}

impl CredentialRefresher {
    pub(crate) fn new(
        source: Source,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let mut state = CredentialState::default();
        if let Source::Given(credentials) = &source {
            state.held = Some(credentials.clone());
            state.generation = CredentialGeneration(1);
        }
        let (state, loading) = (watch::Sender::new(state), Mutex::default());
        let denials = std::sync::Mutex::default();
        Self { source, clock, state, loading, denials, tasks, stop }
    }

    /// Returns whether the credentials are static credentials of the configuration.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self.source, Source::Given(_))
    }

    /// Waits until there are credentials that have not expired. If there are none and a load has
    /// just failed, this returns the error of that load at once.
    pub(crate) async fn ready(&self, deadline: Deadline) -> Result<CredentialGeneration, AwsError> {
        if let Some(generation) = self.valid() {
            return Ok(generation);
        }
        self.load_if(deadline, || self.valid().is_none() && !self.was_just_answered()).await?;
        match (self.valid(), &self.state.borrow().last_error) {
            (Some(generation), _) => Ok(generation),
            (None, Some(last_error)) => Err(AwsError::NoCredentials(last_error.clone())),
            (None, None) => Err(AwsError::NoCredentials(SanitizedError::new(EXPIRED))),
        }
    }

    /// Refreshes credentials that AWS rejected; returns whether there are newer ones.
    pub(crate) async fn replace(
        &self,
        refused: CredentialGeneration,
        deadline: Deadline,
    ) -> Result<bool, AwsError> {
        let refused_at = self.clock.monotonic();
        // A request that waited for the load of another request uses its result.
        let is_new = || self.state.borrow().asked_at.is_none_or(|at| at < refused_at);
        self.load_if(deadline, || self.generation() == refused && is_new()).await?;
        self.is_replaced(refused, true)
    }

    /// Refreshes credentials of a request that AWS denied; returns whether there are newer ones. A
    /// denial can mean that an operator has revoked the sessions of the role, because then AWS
    /// denies all requests with the old credentials. Credentials that are less than a minute old
    /// are not refreshed because of a denial, and the interval between such loads increases.
    /// Requests that are denied during a load wait for its result too.
    pub(crate) async fn replace_denied(
        &self,
        denied: CredentialGeneration,
        deadline: Deadline,
    ) -> Result<bool, AwsError> {
        let may_ask = || self.generation() == denied && self.may_ask_about_denial();
        let was_asked = self.load_if(deadline, may_ask).await?;
        self.is_replaced(denied, was_asked)
    }

    /// Returns whether there are newer credentials. If a load has just failed, this returns its
    /// error.
    fn is_replaced(&self, old: CredentialGeneration, is_answered: bool) -> Result<bool, AwsError> {
        let state = self.state.borrow();
        match &state.last_error {
            _ if state.generation > old => Ok(true),
            Some(last_error) if is_answered => Err(AwsError::NoCredentials(last_error.clone())),
            _ => Ok(false),
        }
    }

    /// Loads credentials, if `is_wanted` holds after a load in progress has ended; returns whether
    /// it loaded.
    async fn load_if(
        &self,
        deadline: Deadline,
        is_wanted: impl FnOnce() -> bool,
    ) -> Result<bool, AwsError> {
        if self.is_given() {
            return Ok(false);
        }
        let load = async {
            let mut loading = self.loading.lock().await;
            let is_wanted = is_wanted();
            if is_wanted {
                self.load(&mut loading).await;
            }
            is_wanted
        };
        let pending = AwsError::CredentialsPending { within: OPERATION_TIMEOUT };
        deadline.run(load).await.ok_or(pending)
    }

    fn generation(&self) -> CredentialGeneration {
        self.state.borrow().generation
    }

    fn may_ask_about_denial(&self) -> bool {
        let now = self.clock.monotonic();
        let age = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let held_for = age(self.state.borrow().held_at);
        let mut denials = lock(&self.denials);
        let interval = DENIED_INTERVALS.delay(denials.times, 0.0);
        if held_for.is_some_and(|time| time < DENIED_INTERVALS.first)
            || age(denials.asked_at).is_some_and(|time| time < interval)
        {
            return false;
        }
        let is_rare = age(denials.asked_at).is_none_or(|time| time > DENIED_INTERVALS.max * 2);
        denials.times = if is_rare { 0 } else { denials.times.saturating_add(1) };
        denials.asked_at = Some(now);
        true
    }

    /// Refreshes the credentials before they expire, until `stop`.
    pub(crate) async fn run(self: Arc<Self>) {
        if self.is_given() {
            return;
        }
        let mut state = self.state.subscribe();
        let look = async {
            loop {
                let due_at = state.borrow_and_update().due_at;
                let due_in = due_at.map(|at| at.saturating_duration_since(self.clock.monotonic()));
                tokio::select! {
                    () = sleep(due_in) => {
                        let mut loading = self.loading.lock().await;
                        self.load(&mut loading).await;
                    }
                    // A request has loaded credentials meanwhile, so the due time has changed. The
                    // sender is a field of this refresher, so it is not closed.
                    _ = state.changed() => {}
                }
            }
        };
        let _ = self.stop.run_until_cancelled(look).await;
    }

    fn valid(&self) -> Option<CredentialGeneration> {
        let state = self.state.borrow();
        let expiry = state.held.as_ref()?.expiry();
        let is_valid = expiry.is_none_or(|expiry| expiry > self.clock.now() + ON_THE_WAY);
        is_valid.then_some(state.generation)
    }

    fn was_just_answered(&self) -> bool {
        let now = self.clock.monotonic();
        let answered_at = self.state.borrow().answered_at;
        answered_at.is_some_and(|at| now.saturating_duration_since(at) < MIN_INTERVAL)
    }

    async fn wait_for_interval(&self) {
        let now = self.clock.monotonic();
        let asked_at = self.state.borrow().asked_at;
        if let Some(since) = asked_at.map(|at| now.saturating_duration_since(at)) {
            tokio::time::sleep(MIN_INTERVAL.saturating_sub(since)).await;
        }
    }

    /// Loads credentials, and waits for the result up to [`LOAD_TIMEOUT`]. After that the load
    /// continues in the background, and no second one is started: it may be an external process of
    /// the AWS profile.
    async fn load(&self, loading: &mut Option<JoinHandle<LoadResult>>) {
        let Source::Asked(ask) = &self.source else { return };
        // The result of a load that no request waited for may be outdated.
        if loading.as_ref().is_some_and(JoinHandle::is_finished) {
            *loading = None;
        }
        if loading.is_none() {
            self.wait_for_interval().await;
        }
        self.state.send_modify(|state| state.asked_at = Some(self.clock.monotonic()));
        let asking = loading.get_or_insert_with(|| {
            let asked = tokio::time::timeout(GIVE_UP_AFTER, ask());
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                let answer = stop.run_until_cancelled(asked).await?;
                Some(answer.unwrap_or_else(|_| Err(no_answer(GIVE_UP_AFTER))))
            })
        });
        let answer = match tokio::time::timeout(LOAD_TIMEOUT, &mut *asking).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => Err(SanitizedError::new("the server ends")),
            Ok(Err(died)) => Err(SanitizedError::of(&died)),
            Err(_) => Err(no_answer(LOAD_TIMEOUT)),
        };
        if asking.is_finished() {
            *loading = None;
        }
        let (now, wall) = (self.clock.monotonic(), self.clock.now());
        self.state.send_modify(|state| {
            state.answered_at = Some(now);
            let answer = answer.and_then(sendable).and_then(|it| state.worth_having(it, wall));
            let before = state.generation;
            let due_in = match answer {
                Ok(credentials) => state.take(credentials, wall),
                Err(error) => Some(state.fail(error, wall, fastrand::f64())),
            };
            if state.generation > before {
                state.held_at = Some(now);
            }
            state.due_at = due_in.and_then(|time| now.checked_add(time));
        });
    }
}

impl ProvideCredentials for CredentialRefresher {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let held = self.state.borrow().held.clone();
        future::ProvideCredentials::ready(held.ok_or_else(CredentialsError::not_loaded_no_source))
    }
}

impl fmt::Debug for CredentialRefresher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialRefresher")
            .field("is_given", &self.is_given())
            .finish_non_exhaustive()
    }
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The error if a source responded, but only with expired credentials.
const EXPIRED: &str = "the credentials have expired, and their source gives no others";

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::auth::session;
    use crate::fake::{ManualClock, refresher};

    #[tokio::test]
    async fn denied_credentials_are_replaced_when_they_are_a_minute_old_and_ever_more_rarely() {
        let clock = Arc::new(ManualClock::new());
        let (refresher, asked) = refresher(&clock);
        let deadline = session::deadline();
        let times = || asked.load(Ordering::Relaxed);
        let mut held = refresher.ready(deadline).await.unwrap();
        for (round, interval) in [(2, 60), (3, 60), (4, 120), (5, 240)] {
            clock.advance(interval - 1);
            assert!(!refresher.replace_denied(held, deadline).await.unwrap(), "{round}");
            clock.advance(1);
            assert!(refresher.replace_denied(held, deadline).await.unwrap(), "{round}");
            // A request that was denied at the same time uses the new credentials, too.
            assert!(refresher.replace_denied(held, deadline).await.unwrap(), "{round}");
            assert_eq!(times(), round);
            let next = refresher.ready(deadline).await.unwrap();
            assert!(next > held);
            held = next;
        }
    }
}
