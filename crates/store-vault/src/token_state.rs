//! The state of a token: decides when to log in, when to renew and when to back off.
//!
//! Pure: the time is an argument, and so is the jitter (from 0 to 1).

use std::time::{Duration, Instant};

/// The shortest and the longest wait after a failure.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_mins(1);

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
pub(crate) struct Generation(pub(crate) u64);

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
    suspect: Option<Generation>,
}

#[derive(Debug)]
struct Held {
    generation: Generation,
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
    pub(crate) fn usable(&self, now: Instant) -> Option<Generation> {
        self.held.as_ref().filter(|held| held.is_alive(now)).map(|held| held.generation)
    }

    /// The token that is in use although Vault did not accept it.
    pub(crate) fn suspect(&self) -> Option<Generation> {
        self.suspect
    }

    /// A login brought a token; it was asked for at `asked_at`.
    pub(crate) fn logged_in(&mut self, lease: Lease, asked_at: Instant, jitter: f64) -> Generation {
        self.logins += 1;
        let generation = Generation(self.logins);
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

    /// A login or a renewal failed: the next attempt waits, longer each time, and no less than
    /// Vault asked for.
    pub(crate) fn failed(&mut self, now: Instant, retry_after: Option<Duration>, jitter: f64) {
        let wait = WAIT_MAX.min(WAIT_MIN * 4 / 3 * 2_u32.saturating_pow(self.failures.min(10)));
        let wait = wait.mul_f64(0.75 + 0.25 * jitter.clamp(0.0, 1.0)).max(WAIT_MIN);
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
        generation: Generation,
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
mod tests {
    use kes_types::{Clock as _, SystemClock};

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn lease(seconds: u32, is_renewable: bool) -> Lease {
        Lease { ttl: (seconds > 0).then(|| S * seconds), is_renewable }
    }

    fn start() -> Instant {
        SystemClock.monotonic()
    }

    #[test]
    fn a_token_is_renewed_at_four_fifths_of_its_life_again_and_again() {
        let (mut state, t0) = (TokenState::default(), start());
        assert_eq!(state.step(t0), Step::LogIn);
        assert_eq!(state.usable(t0), None);
        let first = state.logged_in(lease(100, true), t0, 0.0);
        let mut now = t0;
        for _ in 0..50 {
            assert_eq!(state.step(now), Step::Wait(Some(now + S * 80)));
            now += S * 80;
            assert_eq!(state.step(now), Step::Renew);
            assert_eq!(state.usable(now), Some(first));
            state.renewed(lease(100, true), now, 0.0);
        }
    }

    #[test]
    fn jitter_makes_it_earlier_never_later() {
        let (mut state, t0) = (TokenState::default(), start());
        state.logged_in(lease(100, true), t0, 1.0);
        assert_eq!(state.step(t0), Step::Wait(Some(t0 + S * 75)));
        state.logged_in(lease(100, true), t0, 17.0);
        assert_eq!(state.step(t0), Step::Wait(Some(t0 + S * 75)));
    }

    #[test]
    fn a_token_that_cannot_be_renewed_is_replaced_before_it_ends() {
        let (mut state, t0) = (TokenState::default(), start());
        let old = state.logged_in(lease(10, false), t0, 0.0);
        assert_eq!(state.step(t0 + S * 8), Step::LogIn);
        assert_eq!(state.usable(t0 + S * 8), Some(old));
        let new = state.logged_in(lease(10, false), t0 + S * 8, 0.0);
        assert!(new > old);
        assert_eq!(state.usable(t0 + S * 12), Some(new));
    }

    #[test]
    fn a_renewal_that_grants_less_is_the_last() {
        let (mut state, t0) = (TokenState::default(), start());
        state.logged_in(lease(100, true), t0, 0.0);
        state.renewed(lease(100, true), t0 + S * 80, 0.0);
        assert_eq!(state.step(t0 + S * 160), Step::Renew);
        state.renewed(lease(40, true), t0 + S * 160, 0.0);
        assert_eq!(state.step(t0 + S * 160), Step::Wait(Some(t0 + S * 192)));
        assert_eq!(state.step(t0 + S * 192), Step::LogIn);
        assert!(state.usable(t0 + S * 192).is_some());
    }

    #[test]
    fn a_short_life_is_shortened_by_little() {
        for (granted, renewed, due) in
            [(2, 2, Step::Renew), (2, 1, Step::LogIn), (5, 4, Step::LogIn)]
        {
            let (mut state, t0) = (TokenState::default(), start());
            state.logged_in(lease(granted, true), t0, 0.0);
            state.renewed(lease(renewed, true), t0 + S, 0.0);
            assert_eq!(state.step(t0 + S + S * renewed * 9 / 10), due);
        }
    }

    #[test]
    fn a_renewal_that_grants_nothing_leads_to_a_login() {
        let (mut state, t0) = (TokenState::default(), start());
        state.logged_in(lease(10, true), t0, 0.0);
        state.renewed(lease(0, true), t0 + S * 8, 0.0);
        assert_eq!(state.step(t0 + S * 8), Step::LogIn);
        assert_eq!(state.usable(t0 + S * 10), None);
    }

    #[test]
    fn a_token_for_ever_is_left_alone() {
        let (mut state, t0) = (TokenState::default(), start());
        state.logged_in(lease(0, false), t0, 0.0);
        assert_eq!(state.step(t0 + S * 1_000_000), Step::Wait(None));
        assert!(state.usable(t0 + S * 1_000_000).is_some());
    }

    #[test]
    fn failures_wait_longer_each_time_from_a_second_to_a_minute() {
        for jitter in [0.0, 0.5, 1.0] {
            let (mut state, mut now) = (TokenState::default(), start());
            let mut waits = Vec::new();
            for _ in 0..12 {
                state.failed(now, None, jitter);
                let Step::Wait(Some(until)) = state.step(now) else { panic!("no wait") };
                waits.push(until - now);
                now = until;
                assert_eq!(state.step(now), Step::LogIn);
            }
            assert!(waits.is_sorted(), "{waits:?}");
            assert!(waits[0] >= S && waits[0] < S * 2, "{waits:?}");
            assert!(waits[11] >= S * 45 && waits[11] <= S * 60, "{waits:?}");
            state.logged_in(lease(10, true), now, jitter);
            state.failed(now + S * 20, None, jitter);
            assert!(matches!(state.step(now + S * 20), Step::Wait(Some(at)) if at < now + S * 22));
        }
    }

    #[test]
    fn vault_s_wish_to_wait_is_heeded() {
        let (mut state, now) = (TokenState::default(), start());
        state.failed(now, Some(S * 30), 0.0);
        assert_eq!(state.step(now), Step::Wait(Some(now + S * 30)));
        state.failed(now, Some(Duration::MAX), 0.0);
        assert_eq!(state.step(now), Step::Wait(Some(now + WAIT_MAX)));
    }

    #[test]
    fn a_renewal_that_fails_is_tried_again_while_the_token_lives_and_then_a_login() {
        let (mut state, t0) = (TokenState::default(), start());
        state.logged_in(lease(10, true), t0, 0.0);
        let mut now = t0 + S * 8;
        let mut attempts = 0;
        while state.usable(now).is_some() {
            assert_eq!(state.step(now), Step::Renew);
            state.failed(now, None, 0.0);
            let Step::Wait(Some(until)) = state.step(now) else { panic!("no wait") };
            now = until;
            attempts += 1;
            if attempts > 3 {
                now = now.max(t0 + S * 10);
            }
        }
        assert!(attempts >= 2);
        assert_eq!(state.usable(t0 + S * 10), None);
        state.recovered();
        assert_eq!(state.step(t0 + S * 10), Step::LogIn);
    }

    #[test]
    fn a_refused_renewal_leads_to_a_login_and_the_token_is_used_while_it_lasts() {
        let (mut state, t0) = (TokenState::default(), start());
        let old = state.logged_in(lease(10, true), t0, 0.0);
        state.renewal_refused();
        assert_eq!(state.step(t0 + S * 8), Step::LogIn);
        state.failed(t0 + S * 8, None, 0.0);
        assert_eq!(state.usable(t0 + S * 9), Some(old));
        assert_eq!(state.usable(t0 + S * 10), None);
    }

    #[test]
    fn a_token_that_vault_does_not_know_is_replaced_unless_it_is_fresh() {
        let (mut state, t0) = (TokenState::default(), start());
        let old = state.logged_in(lease(100, true), t0, 0.0);
        assert_eq!(state.refused(old, true, t0 + S), Refusal::Fresh);
        assert_eq!(state.refused(old, true, t0 + S * 3), Refusal::Replacing);
        assert_eq!(state.refused(old, true, t0 + S * 3), Refusal::Replacing);
        assert_eq!(state.usable(t0 + S * 3), Some(old));
        assert_eq!(state.suspect(), Some(old));
        assert_eq!(state.step(t0 + S * 3), Step::LogIn);
        let new = state.logged_in(lease(100, true), t0 + S * 3, 0.0);
        assert_eq!(state.refused(old, true, t0 + S * 3), Refusal::Replaced);
        assert_eq!(state.usable(t0 + S * 3), Some(new));
    }

    #[test]
    fn logins_that_do_not_help_are_not_repeated_without_end() {
        let (mut state, t0) = (TokenState::default(), start());
        let (mut now, mut logins) = (t0, 0);
        let mut current = state.logged_in(lease(3600, true), now, 0.0);
        while now < t0 + S * 600 {
            now += S;
            if state.refused(current, false, now) == Refusal::Replacing {
                current = state.logged_in(lease(3600, true), now, 0.0);
                logins += 1;
            }
        }
        assert!((10..=20).contains(&logins), "{logins}");
        current = state.logged_in(lease(3600, true), now, 0.0);
        assert_eq!(state.refused(current, false, now + S * 50), Refusal::Final);
        state.login_helped();
        assert_eq!(state.refused(current, false, now + S * 50), Refusal::Replacing);
    }
}
