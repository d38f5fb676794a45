//! Refreshes the Vault token in the background: a single task logs in and renews, so that at most
//! one login is in progress.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kes_store::{Backoff, Deadline};
use kes_types::{Clock, lock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::auth::login::{Granted, Login, Token};
use crate::auth::token_state::{Refusal, Step, TokenGeneration, TokenState};
use crate::error::VaultError;
use crate::http;
use crate::http::{OPERATION_TIMEOUT, Transport};

/// The timeout of the revocation of the token at shutdown.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);

/// The waits before a token is used again that a node may not know yet.
const FRESH: Backoff =
    Backoff { first: Duration::from_millis(50), max: Duration::from_secs(1), jitter_share: 0.0 };

/// The maximum number of these waits.
const FRESH_WAITS_MAX: u32 = 5;

/// Logs in, renews the token, and provides it to requests.
#[derive(Debug)]
pub(crate) struct TokenRefresher {
    transport: Arc<Transport>,
    login: Login,
    clock: Arc<dyn Clock>,
    state: Mutex<TokenState>,
    status: watch::Sender<TokenStatus>,
    /// Wakes the task after an event.
    wake: Notify,
}

/// A token in use.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) token: Token,
    pub(crate) generation: TokenGeneration,
}

/// The status that requests wait for.
#[derive(Clone, Debug, Default)]
struct TokenStatus {
    held: Option<Held>,
    /// Why the last login failed, if it failed.
    last_error: Option<Arc<VaultError>>,
}

/// The meaning of a response with status 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send the request again: a newer token is available, or this one is not known to all nodes
    /// yet.
    Again,
    /// Send the request again with the token of a later login, which is in progress.
    AgainAfter(TokenGeneration),
    /// The token is valid, and its policies do not allow the request.
    Denied,
}

impl TokenRefresher {
    pub(crate) fn new(transport: Arc<Transport>, login: Login, clock: Arc<dyn Clock>) -> Self {
        Self {
            transport,
            login,
            clock,
            state: Mutex::default(),
            status: watch::Sender::default(),
            wake: Notify::new(),
        }
    }

    /// Returns the object that holds the policies, as errors name it.
    pub(crate) fn role(&self) -> &'static str {
        self.login.role()
    }

    /// Returns the configuration fields that affect whether a login succeeds.
    pub(crate) fn fields(&self) -> &'static str {
        self.login.fields()
    }

    /// Returns a token that has not expired. This waits for a login in progress; after a failed
    /// login it returns the error at once.
    pub(crate) async fn token(&self, deadline: Deadline) -> Result<Held, VaultError> {
        self.token_after(TokenGeneration(0), deadline).await
    }

    /// Does the same as [`Self::token`], but does not return a token that Vault has rejected.
    pub(crate) async fn unsuspected_token(&self, deadline: Deadline) -> Result<Held, VaultError> {
        let suspect = self.state().suspect();
        self.token_after(suspect.unwrap_or(TokenGeneration(0)), deadline).await
    }

    /// Does the same as [`Self::token`], but returns only a token of a later login than
    /// `generation`.
    pub(crate) async fn token_after(
        &self,
        generation: TokenGeneration,
        deadline: Deadline,
    ) -> Result<Held, VaultError> {
        let mut status = self.status.subscribe();
        let usable = async {
            loop {
                if let Some(result) = self.held(&status.borrow_and_update(), generation) {
                    return result;
                }
                // The sender is a field of this refresher, so it is not closed.
                let _ = status.changed().await;
            }
        };
        match deadline.run(usable).await {
            Some(result) => result,
            None => Err(VaultError::LoginPending { within: OPERATION_TIMEOUT }),
        }
    }

    fn held(
        &self,
        status: &TokenStatus,
        after: TokenGeneration,
    ) -> Option<Result<Held, VaultError>> {
        let usable = self.state().usable(self.clock.monotonic());
        let held = status
            .held
            .as_ref()
            .filter(|held| Some(held.generation) == usable && held.generation > after);
        match (held, &status.last_error) {
            (Some(held), _) => Some(Ok(held.clone())),
            (None, Some(last_error)) => Some(Err(VaultError::NoToken(Arc::clone(last_error)))),
            (None, None) => None,
        }
    }

    /// Decides whether a response with status 403 is caused by the token or by its policies.
    /// `attempt` counts from 0.
    pub(crate) async fn judge(
        &self,
        held: &Held,
        attempt: u32,
        deadline: Deadline,
    ) -> Result<Verdict, VaultError> {
        if self.login.is_known(&self.transport, &held.token, deadline).await? {
            return Ok(Verdict::Denied);
        }
        let may_be_fresh = attempt < FRESH_WAITS_MAX;
        let now = self.clock.monotonic();
        let refusal = self.state().refused(held.generation, may_be_fresh, now);
        match refusal {
            Refusal::Replaced => Ok(Verdict::Again),
            Refusal::Replacing => {
                self.wake.notify_one();
                Ok(Verdict::AgainAfter(held.generation))
            }
            Refusal::Fresh => {
                let wait = FRESH.delay(attempt, 0.0);
                let has_waited = deadline.wait(wait).await;
                Ok(if has_waited { Verdict::Again } else { Verdict::Denied })
            }
            Refusal::Final => Ok(Verdict::Denied),
        }
    }

    /// Records that a request succeeded after its token was replaced.
    pub(crate) fn login_helped(&self) {
        self.state().login_helped();
    }

    /// Records that Vault has recovered: failed attempts are repeated at once, and requests wait
    /// for them.
    pub(crate) fn recovered(&self) {
        self.state().recovered();
        self.status.send_modify(|status| status.last_error = None);
        self.wake.notify_one();
    }

    /// Performs the step that is due, if any: a login or a renewal.
    pub(crate) async fn attempt(&self) -> Result<(), Arc<VaultError>> {
        let asked_at = self.clock.monotonic();
        let step = self.state().step(asked_at);
        let deadline = http::deadline();
        match step {
            Step::Wait(_) => return Ok(()),
            Step::LogIn => match self.login.log_in(&self.transport, deadline).await {
                Ok(granted) => self.logged_in(granted, asked_at),
                Err(error) => return Err(self.not_logged_in(error)),
            },
            Step::Renew => {
                let held = self.status.borrow().held.clone();
                let Some(held) = held else { return Ok(()) };
                match self.login.renew(&self.transport, &held.token, deadline).await {
                    Ok(granted) => self.renewed(&granted, asked_at),
                    Err(error) => self.not_renewed(&error),
                }
            }
        }
        Ok(())
    }

    /// Refreshes the token until `stop`; then revokes it.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.next()).await.is_some() {}
        self.give_back().await;
    }

    /// Revokes the current token, if any, so that its lease ends with the server.
    pub(crate) async fn give_back(&self) {
        let held = self.status.borrow().held.clone();
        let is_usable = self.state().usable(self.clock.monotonic()).is_some();
        let Some(held) = held.filter(|_| is_usable) else { return };
        let deadline = http::deadline();
        let revoked = self.login.revoke(&self.transport, &held.token, deadline);
        let is_revoked = matches!(tokio::time::timeout(REVOKE_TIMEOUT, revoked).await, Ok(Ok(())));
        // A token that was not revoked expires by itself.
        tracing::debug!(is_revoked, "gave the token back to Vault");
    }

    async fn next(&self) {
        let now = self.clock.monotonic();
        let step = self.state().step(now);
        match step {
            Step::Wait(Some(until)) => {
                let sleep = tokio::time::sleep(until.saturating_duration_since(now));
                tokio::select! {
                    () = sleep => {}
                    () = self.wake.notified() => {}
                }
            }
            Step::Wait(None) => self.wake.notified().await,
            // Failures are logged where they occur.
            Step::LogIn | Step::Renew => drop(self.attempt().await),
        }
    }

    fn logged_in(&self, granted: Granted, asked_at: Instant) {
        let Granted { token, lease } = granted;
        let generation = self.state().logged_in(lease, asked_at, fastrand::f64());
        let held = Some(Held { token, generation });
        self.status.send_replace(TokenStatus { held, last_error: None });
        let ttl_seconds = lease.ttl.map(|ttl| ttl.as_secs());
        tracing::info!(ttl_seconds, is_renewable = lease.is_renewable, "logged in to Vault");
    }

    fn renewed(&self, granted: &Granted, asked_at: Instant) {
        self.state().renewed(granted.lease, asked_at, fastrand::f64());
        // A request may be waiting because the token had expired in the meantime.
        self.status.send_modify(|_| {});
        let ttl_seconds = granted.lease.ttl.map(|ttl| ttl.as_secs());
        tracing::debug!(ttl_seconds, "renewed the token for Vault");
    }

    fn not_logged_in(&self, error: VaultError) -> Arc<VaultError> {
        self.back_off(&error);
        let error = Arc::new(error);
        let cause: &dyn std::error::Error = &*error;
        let has_token = self.state().usable(self.clock.monotonic()).is_some();
        tracing::error!(cause, has_token, "cannot log in to Vault");
        self.status.send_modify(|status| status.last_error = Some(Arc::clone(&error)));
        error
    }

    /// Handles a failed renewal. If Vault responded, a login is next, whatever the error. If Vault
    /// did not respond, or requested a later retry, the renewal is tried again.
    fn not_renewed(&self, error: &VaultError) {
        let cause: &dyn std::error::Error = error;
        let is_later = matches!(error, VaultError::Unavailable { status: 412 | 429 | 503, .. });
        let is_answered =
            matches!(error, VaultError::LoginRefused { .. } | VaultError::Unavailable { .. });
        if is_answered && !is_later {
            tracing::warn!(cause, "Vault does not renew the token; logging in again");
            self.state().renewal_refused();
        } else {
            tracing::error!(cause, "cannot renew the token for Vault");
            self.back_off(error);
        }
    }

    fn back_off(&self, error: &VaultError) {
        let now = self.clock.monotonic();
        self.state().failed(now, error.retry_after(), fastrand::f64());
    }

    fn state(&self) -> MutexGuard<'_, TokenState> {
        lock(&self.state)
    }
}
