//! Tests the token state machine; the time is an argument.

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
    for (granted, renewed, due) in [(2, 2, Step::Renew), (2, 1, Step::LogIn), (5, 4, Step::LogIn)] {
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
