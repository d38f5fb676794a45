//! The state of a token: decides when to log in, when to renew and when to back off.
//!
//! Pure: the time is an argument, and so is the jitter (from 0 to 1).

use std::time::{Duration, Instant};

use kes_store::Backoff;

/// The longest wait after a failure.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// The waits after failures in a row: a second at least.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(1334), max: WAIT_MAX, jitter_share: 0.25 };

/// The shortest wait while there is a token that ends soon.
const WAIT_URGENT: Duration = Duration::from_millis(250);

/// The share of its life after which a token is renewed: at most and at least.
const RENEW_AT: f64 = 0.8;
const RENEW_JITTER: f64 = 0.05;

/// How long a token counts as fresh: other nodes of a Vault may not know it yet.
const FRESH: Duration = Duration::from_secs(2);

/// What Vault granted with a login or a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    /// How long the token lives from now on; none is for ever.
    pub(crate) ttl: Option<Duration>,
    pub(crate) is_renewable: bool,
}

/// Numbers tokens in the order of their logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenGeneration(pub(crate) u64);

/// What is to be done about the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    LogIn,
    Renew,
    /// Nothing, until then or until something happens.
    Wait(Option<Instant>),
}

/// What a token that Vault does not accept means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is another token by now.
    Replaced,
    /// It was issued just now, and the node that was asked may not know it yet.
    Fresh,
    /// A login is under way that will replace it.
    Replacing,
    /// A login has just not helped: it is not the token's fault.
    Final,
}

/// The state of the tokens of one login.
#[derive(Debug, Default)]
pub(crate) struct TokenState {
    held: Option<Held>,
    logins: u64,
    failures: u32,
    /// No attempt before this.
    not_before: Option<Instant>,
    /// How long after a login the next one is no cure for a refusal.
    login_interval: Duration,
    /// A token that Vault did not accept and does not know, but which may be good all the same.
    suspect: Option<TokenGeneration>,
}

#[derive(Debug)]
struct Held {
    generation: TokenGeneration,
    /// What the login granted: a renewal that grants less has met the token's greatest age.
    granted: Option<Duration>,
    logged_in_at: Instant,
    ends_at: Option<Instant>,
    /// When to renew it, or to replace it.
    due_at: Option<Instant>,
    due: Step,
}

impl TokenState {
    /// What is to be done now.
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

    /// The token in use, if it is not known to be dead.
    pub(crate) fn usable(&self, now: Instant) -> Option<TokenGeneration> {
        self.held.as_ref().filter(|held| held.is_alive(now)).map(|held| held.generation)
    }

    /// The token that is in use although Vault did not accept it.
    pub(crate) fn suspect(&self) -> Option<TokenGeneration> {
        self.suspect
    }

    /// A login brought a token; it was asked for at `asked_at`.
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

    /// The token was renewed.
    pub(crate) fn renewed(&mut self, lease: Lease, asked_at: Instant, jitter: f64) {
        self.settled();
        let Some(held) = &mut self.held else { return };
        if lease.ttl.is_some() || held.granted.is_none() {
            held.ends_at = lease.ttl.map(|ttl| asked_at + ttl);
            held.due_at = lease.ttl.map(|ttl| asked_at + share(ttl, jitter));
        }
        let is_shortened = match (lease.ttl, held.granted) {
            // Vault grants the whole time again, unless the token's greatest age comes first.
            (Some(ttl), Some(granted)) => ttl < granted.mul_f64(0.95),
            // Nothing more for a token that had an end.
            (None, Some(_)) => true,
            (_, None) => false,
        };
        held.due = if lease.is_renewable && !is_shortened { Step::Renew } else { Step::LogIn };
    }

    /// Vault answered, and did not renew: a login is next. The token is used while it lasts.
    pub(crate) fn renewal_refused(&mut self) {
        if let Some(held) = &mut self.held {
            held.due = Step::LogIn;
        }
    }

    /// Notes that a login or a renewal failed: the next attempt waits (backoff), and no less than Vault asked for
    /// by `Retry-After`.
    pub(crate) fn failed(&mut self, now: Instant, retry_after: Option<Duration>, jitter: f64) {
        let wait = BACKOFF.delay(self.failures, jitter);
        self.failures = self.failures.saturating_add(1);
        // A token that ends sooner is worth trying sooner.
        let ends_at = self.held.as_ref().and_then(|held| held.ends_at);
        let left = ends_at.map(|end| end.saturating_duration_since(now));
        let left = left.filter(|left| !left.is_zero());
        let wait = left.map_or(wait, |left| wait.min((left / 2).max(WAIT_URGENT)));
        self.not_before = Some(now + wait.max(retry_after.unwrap_or_default().min(WAIT_MAX)));
    }

    /// Vault is healthy again: what it did not answer is worth trying at once.
    pub(crate) fn recovered(&mut self) {
        self.not_before = None;
        self.failures = 0;
    }

    /// Vault did not accept this token, and does not know it. Unless `may_be_fresh` that is not
    /// put down to a node that does not know it yet.
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
        // It may be good all the same, where its policies do not let it look itself up: it serves
        // until there is a better one.
        (held.due, held.due_at) = (Step::LogIn, Some(now));
        self.suspect = Some(generation);
        // If that does not help, it is not done again too soon.
        self.login_interval = WAIT_MAX.min((login_interval * 2).max(2 * FRESH));
        Refusal::Replacing
    }

    /// The login after a refusal helped.
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

/// When a token of this life is due.
fn share(ttl: Duration, jitter: f64) -> Duration {
    ttl.mul_f64(RENEW_AT - RENEW_JITTER * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
