//! Decides when to log in, when to renew the token and when to back off.
//!
//! The functions are pure: the time is an argument, and so is the jitter (from 0 to 1).

use std::time::{Duration, Instant};

use kes_store::Backoff;

/// The maximum wait after a failure.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// The backoff after consecutive failures, with a minimum of one second.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(1334), max: WAIT_MAX, jitter_share: 0.25 };

/// The minimum wait after a failure while the token is about to expire.
const WAIT_URGENT: Duration = Duration::from_millis(250);

/// The maximum share of its lifetime after which a token is renewed, and the jitter that is
/// subtracted.
const RENEW_AT: f64 = 0.8;
const RENEW_JITTER: f64 = 0.05;

/// How long a token counts as fresh: until then, other nodes of a Vault may not know it yet.
const FRESH: Duration = Duration::from_secs(2);

/// The lease that Vault granted with a login or a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The remaining lifetime of the token; none means unlimited.
    pub(crate) ttl: Option<Duration>,
    pub(crate) is_renewable: bool,
}

/// Numbers tokens in the order of their logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenGeneration(pub(crate) u64);

/// The next step for the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    LogIn,
    Renew,
    /// Nothing, until this time or the next event.
    Wait(Option<Instant>),
}

/// The meaning of a rejected token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A newer token is available.
    Replaced,
    /// The token was just issued, and the node may not know it yet.
    Fresh,
    /// A login is in progress that will replace the token.
    Replacing,
    /// A recent login did not help, so the token is not the cause.
    Final,
}

/// The state of the current token, and of logins and renewals.
#[derive(Debug, Default)]
pub(crate) struct TokenState {
    held: Option<Held>,
    logins: u64,
    failures: u32,
    /// The earliest time of the next attempt.
    not_before: Option<Instant>,
    /// How long after a login a rejected token does not cause another login.
    login_interval: Duration,
    /// A token that Vault rejected and does not know, but which may be valid.
    suspect: Option<TokenGeneration>,
}

#[derive(Debug)]
struct Held {
    generation: TokenGeneration,
    /// The lifetime that the login granted: a renewal that grants less has reached the maximum TTL
    /// of the token.
    granted: Option<Duration>,
    logged_in_at: Instant,
    ends_at: Option<Instant>,
    /// When to renew or replace the token.
    due_at: Option<Instant>,
    due: Step,
}

impl TokenState {
    /// Returns the next step.
    pub(crate) fn step(&self, now: Instant) -> Step {
        let not_before = self.not_before.filter(|at| *at > now);
        let Some(held) = self.held.as_ref().filter(|held| held.is_alive(now)) else {
            return not_before.map_or(Step::LogIn, |at| Step::Wait(Some(at)));
        };
        match (held.due_at, not_before) {
            (Some(due_at), _) if due_at > now => Step::Wait(Some(due_at)),
            (Some(_), Some(at)) => Step::Wait(held.ends_at.map(|end| end.min(at)).or(Some(at))),
            (Some(_), None) => held.due,
            (None, _) => Step::Wait(None),
        }
    }

    /// Returns the current token, unless it has expired.
    pub(crate) fn usable(&self, now: Instant) -> Option<TokenGeneration> {
        self.held.as_ref().filter(|held| held.is_alive(now)).map(|held| held.generation)
    }

    /// Returns the current token if Vault has rejected it.
    pub(crate) fn suspect(&self) -> Option<TokenGeneration> {
        self.suspect
    }

    /// Records a login that was requested at `asked_at`, and returns its token.
    pub(crate) fn logged_in(
        &mut self,
        lease: Lease,
        asked_at: Instant,
        jitter: f64,
    ) -> TokenGeneration {
        self.logins += 1;
        let generation = TokenGeneration(self.logins);
        self.settled();
        let due = if lease.is_renewable { Step::Renew } else { Step::LogIn };
        self.held = Some(Held {
            generation,
            granted: lease.ttl,
            logged_in_at: asked_at,
            ends_at: lease.ttl.map(|ttl| asked_at + ttl),
            due_at: lease.ttl.map(|ttl| asked_at + share(ttl, jitter)),
            due,
        });
        generation
    }

    /// Records a renewal that was requested at `asked_at`.
    pub(crate) fn renewed(&mut self, lease: Lease, asked_at: Instant, jitter: f64) {
        self.settled();
        let Some(held) = &mut self.held else { return };
        if lease.ttl.is_some() || held.granted.is_none() {
            held.ends_at = lease.ttl.map(|ttl| asked_at + ttl);
            held.due_at = lease.ttl.map(|ttl| asked_at + share(ttl, jitter));
        }
        let is_shortened = match (lease.ttl, held.granted) {
            // Vault grants the full lifetime again, unless the maximum TTL of the token is reached
            // first.
            (Some(ttl), Some(granted)) => ttl < granted.mul_f64(0.95),
            // Vault did not extend a token with a limited lifetime.
            (None, Some(_)) => true,
            (_, None) => false,
        };
        held.due = if lease.is_renewable && !is_shortened { Step::Renew } else { Step::LogIn };
    }

    /// Records that Vault refused a renewal: a login is next. The token is used until it expires.
    pub(crate) fn renewal_refused(&mut self) {
        if let Some(held) = &mut self.held {
            held.due = Step::LogIn;
        }
    }

    /// Records that a login or a renewal failed. The next attempt waits for the backoff, and at
    /// least as long as `Retry-After` requires.
    pub(crate) fn failed(&mut self, now: Instant, retry_after: Option<Duration>, jitter: f64) {
        let wait = BACKOFF.delay(self.failures, jitter);
        self.failures = self.failures.saturating_add(1);
        // If the token expires sooner, the next attempt starts sooner.
        let ends_at = self.held.as_ref().and_then(|held| held.ends_at);
        let left = ends_at.map(|end| end.saturating_duration_since(now));
        let left = left.filter(|left| !left.is_zero());
        let wait = left.map_or(wait, |left| wait.min((left / 2).max(WAIT_URGENT)));
        self.not_before = Some(now + wait.max(retry_after.unwrap_or_default().min(WAIT_MAX)));
    }

    /// Records that Vault has recovered, so that the next attempt starts at once.
    pub(crate) fn recovered(&mut self) {
        self.not_before = None;
        self.failures = 0;
    }

    /// Records that Vault rejected this token and does not know it. If `may_be_fresh` is false,
    /// this is not attributed to a node that does not know the token yet.
    pub(crate) fn refused(
        &mut self,
        generation: TokenGeneration,
        may_be_fresh: bool,
        now: Instant,
    ) -> Refusal {
        let login_interval = self.login_interval;
        let Some(held) = &mut self.held else { return Refusal::Replacing };
        if held.generation != generation {
            return Refusal::Replaced;
        }
        let age = now.saturating_duration_since(held.logged_in_at);
        if !held.is_alive(now) {
            return Refusal::Replacing;
        }
        if may_be_fresh && age < FRESH {
            return Refusal::Fresh;
        }
        let is_replacing = held.due == Step::LogIn && held.due_at.is_some_and(|due| due <= now);
        if is_replacing {
            self.suspect = Some(generation);
            return Refusal::Replacing;
        }
        if age < login_interval {
            return Refusal::Final;
        }
        // The token may be valid, if its policies do not allow the lookup of itself, so it is used
        // until a newer one is available.
        (held.due, held.due_at) = (Step::LogIn, Some(now));
        self.suspect = Some(generation);
        // If the login does not help, the next one is not repeated too soon.
        self.login_interval = WAIT_MAX.min((login_interval * 2).max(2 * FRESH));
        Refusal::Replacing
    }

    /// Records that a login after a rejection helped.
    pub(crate) fn login_helped(&mut self) {
        self.login_interval = Duration::ZERO;
    }

    fn settled(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }
}

impl Held {
    fn is_alive(&self, now: Instant) -> bool {
        self.ends_at.is_none_or(|end| now < end)
    }
}

/// Returns the time after which a token with this lifetime is due.
fn share(ttl: Duration, jitter: f64) -> Duration {
    ttl.mul_f64(RENEW_AT - RENEW_JITTER * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
