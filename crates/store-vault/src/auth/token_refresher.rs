//! Refreshes the Vault token in the background: one task logs in and renews, so that there is at most one login at a
//! time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kes_store::Deadline;
use kes_types::{Clock, lock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::auth::login::{Granted, Login, Token};
use crate::auth::token_state::{Refusal, Step, TokenGeneration, TokenState};
use crate::error::VaultError;
use crate::http;
use crate::http::{OPERATION_TIMEOUT, Transport};

/// How long the return of the token may take when the server ends.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(2);

/// The shortest wait before a token is tried again that a node may not know yet.
const FRESH_WAIT: Duration = Duration::from_millis(50);

/// Waits twice as long as the one before, until the token is as good as fresh no more.
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
    /// Why the last login failed, if it did.
    last_error: Option<Arc<VaultError>>,
}

/// The meaning of a 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask again: there is another token by now, or this one is too fresh to be known everywhere.
    Again,
    /// Ask again with a token of a later login, which is under way.
    AgainAfter(TokenGeneration),
    /// The token is good: its policies do not allow it.
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

    /// What holds the policies, as errors name it.
    pub(crate) fn role(&self) -> &'static str {
        self.login.role()
    }

    /// The fields of the configuration that decide whether a login succeeds.
    pub(crate) fn fields(&self) -> &'static str {
        self.login.fields()
    }

    /// A token that is not known to be dead. Waits for a login under way; while attempts fail it
    /// says why, at once.
    pub(crate) async fn token(&self, deadline: Deadline) -> Result<Held, VaultError> {
        self.token_after(TokenGeneration(0), deadline).await
    }

    /// The same, of one that Vault has not refused since it was issued.
    pub(crate) async fn unsuspected_token(&self, deadline: Deadline) -> Result<Held, VaultError> {
        let suspect = self.state().suspect();
        self.token_after(suspect.unwrap_or(TokenGeneration(0)), deadline).await
    }

    /// The same, of a later login than that.
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
                // The sender is a part of this refresher.
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

    /// Judges a request's 403: is it the token's fault, or the policy's? `attempt` counts from 0.
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
                let wait = FRESH_WAIT * 2_u32.saturating_pow(attempt);
                let has_waited = deadline.wait(wait).await;
                Ok(if has_waited { Verdict::Again } else { Verdict::Denied })
            }
            Refusal::Final => Ok(Verdict::Denied),
        }
    }

    /// A request that was refused is accepted now.
    pub(crate) fn login_helped(&self) {
        self.state().login_helped();
    }

    /// Vault is healthy after it was not: what failed is tried again at once, and worth waiting for.
    pub(crate) fn recovered(&self) {
        self.state().recovered();
        self.status.send_modify(|status| status.last_error = None);
        self.wake.notify_one();
    }

    /// Does what is due now, if anything is: an attempt to log in or to renew.
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

    /// Keeps the token alive until `stop`; then gives it back.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.next()).await.is_some() {}
        self.give_back().await;
    }

    /// Revokes the token, if there is one, so that its lease does not outlive us.
    pub(crate) async fn give_back(&self) {
        let held = self.status.borrow().held.clone();
        let is_usable = self.state().usable(self.clock.monotonic()).is_some();
        let Some(held) = held.filter(|_| is_usable) else { return };
        let deadline = http::deadline();
        let revoked = self.login.revoke(&self.transport, &held.token, deadline);
        let is_revoked = matches!(tokio::time::timeout(REVOKE_TIMEOUT, revoked).await, Ok(Ok(())));
        // One that was not ends by itself.
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
            // What fails is logged where it fails.
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
        // A request may wait for a token that had expired meanwhile.
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

    /// Vault that answered does not renew this token, whatever it calls that; one that did not, or
    /// wants to be asked later, may yet.
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
