//! Which refusals are logged at once, and which are counted and reported later, so that a burst of
//! them is a few lines and a count.
//!
//! A state machine over a clock: it logs nothing and waits for nothing. Every refusal is in a line
//! of its own or in a count. The first refusals of a peer for a reason are lines. Further ones are
//! counted; the count is reported after a second, then after two, four and so on up to a minute.
//! Over all peers, lines are limited by a token bucket; peers beyond it are counted together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::refusal::Refusal;

/// Lines for one peer and reason, until there was none for [`QUIET`].
const LINES_MAX: u32 = 5;

/// After this long without a refusal a peer and reason are forgotten.
const QUIET: Duration = Duration::from_mins(1);

/// The time until the first count is reported. It doubles with each count.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_mins(1);

/// Lines for all peers: so many at once, then one a second.
const TOKENS_MAX: u64 = 20;

/// Counts that are reported at a time.
const COUNTS_MAX: usize = 5;

/// Counts that are reported at the end; what is beyond them is one more count.
const LAST_COUNTS_MAX: usize = 20;

/// Pairs of peer and reason that are remembered.
const PEERS_MAX: usize = 1024;

/// The same with the reasons of peers that are not remembered.
const ENTRIES_MAX: usize = PEERS_MAX + 64;

/// The refusals of the last minute.
#[derive(Debug)]
pub(crate) struct Fold {
    entries: HashMap<Key, Entry>,
    tokens: u64,
    refilled: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// None stands for peers that are not remembered.
    peer: Option<IpAddr>,
    refusal: Refusal,
}

#[derive(Debug)]
struct Entry {
    lines: u32,
    /// Refusals that are in no line and no count yet.
    repeated: u64,
    window: Duration,
    /// When the next count may be reported.
    due: Instant,
    last: Instant,
    last_peer: IpAddr,
}

/// How often a refusal was repeated without a line of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// None stands for several peers.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) refusal: Refusal,
    pub(crate) repeated: u64,
}

impl Fold {
    pub(crate) fn new(now: Instant) -> Self {
        Self { entries: HashMap::new(), tokens: TOKENS_MAX, refilled: now }
    }

    /// Notes a refusal. If it is to be logged at once: how many were counted since the last line.
    pub(crate) fn note(&mut self, now: Instant, peer: IpAddr, refusal: &Refusal) -> Option<u64> {
        let has_token = self.has_token(now);
        let key = Key { peer: Some(peer), refusal: refusal.clone() };
        let is_full = self.entries.len() >= PEERS_MAX;
        let Some(entry) = self.entries.get_mut(&key) else {
            if !has_token || is_full {
                self.count_with_others(now, peer, refusal);
                return None;
            }
            self.tokens -= 1;
            self.entries.insert(key, Entry::new(now, peer, 1));
            return Some(0);
        };
        entry.last = now;
        if !has_token || entry.lines >= LINES_MAX {
            entry.repeated += 1;
            return None;
        }
        self.tokens -= 1;
        entry.lines += 1;
        Some(std::mem::take(&mut entry.repeated))
    }

    /// Counts that are due. Forgets what was not repeated for a while.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Count> {
        self.entries.retain(|_, entry| entry.repeated > 0 || now < entry.last + QUIET);
        let is_due = |entry: &Entry| entry.repeated > 0 && entry.due <= now;
        let mut due: Vec<_> = self.entries.iter_mut().filter(|(_, entry)| is_due(entry)).collect();
        due.sort_by_key(|(_, entry)| entry.due);
        let due = due.into_iter().take(COUNTS_MAX).map(|(key, entry)| {
            entry.window = WINDOW_MAX.min(entry.window * 2);
            entry.due = now + entry.window;
            key.take_count(entry)
        });
        due.collect()
    }

    /// Every count that was not reported.
    pub(crate) fn finish(&mut self) -> Vec<Count> {
        let counts = self.entries.drain().filter(|(_, entry)| entry.repeated > 0);
        let mut counts: Vec<_> =
            counts.map(|(key, mut entry)| key.take_count(&mut entry)).collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.repeated));
        let further = counts.split_off(LAST_COUNTS_MAX.min(counts.len()));
        if let [first, others @ ..] = further.as_slice() {
            let is_one = others.iter().all(|count| count.refusal == first.refusal);
            let refusal = if is_one { first.refusal.clone() } else { Refusal::various() };
            let repeated = further.iter().map(|count| count.repeated).sum();
            counts.push(Count { peer: None, refusal, repeated });
        }
        counts
    }

    /// Whether nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counts a refusal of a peer that is not remembered.
    fn count_with_others(&mut self, now: Instant, peer: IpAddr, refusal: &Refusal) {
        let mut key = Key { peer: None, refusal: refusal.clone() };
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(&key) {
            key.refusal = Refusal::various();
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry::new(now, peer, LINES_MAX));
        entry.repeated += 1;
        entry.last = now;
        entry.last_peer = peer;
    }

    fn has_token(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.refilled).as_secs();
        if seconds > 0 {
            self.tokens = TOKENS_MAX.min(self.tokens.saturating_add(seconds));
            self.refilled += Duration::from_secs(seconds);
        }
        self.tokens > 0
    }
}

impl Key {
    fn take_count(&self, entry: &mut Entry) -> Count {
        let repeated = std::mem::take(&mut entry.repeated);
        // One is not several.
        let peer = self.peer.or_else(|| (repeated == 1).then_some(entry.last_peer));
        Count { peer, refusal: self.refusal.clone(), repeated }
    }
}

impl Entry {
    fn new(now: Instant, last_peer: IpAddr, lines: u32) -> Self {
        Self { lines, repeated: 0, window: WINDOW_MIN, due: now + WINDOW_MIN, last: now, last_peer }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use kes_types::{Clock as _, SystemClock};

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn refusal(reason: &str) -> Refusal {
        Refusal::new("refused", reason.to_owned(), "try again")
    }

    fn nth(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))
    }

    /// Notes so many refusals over a time, with a look at what is due each second. Gives the lines,
    /// the counts, and how many refusals are in them.
    fn burst(
        fold: &mut Fold,
        begin: Instant,
        (count, length): (u32, Duration),
        peer: impl Fn(u32) -> IpAddr,
    ) -> (usize, usize, u64) {
        let (mut lines, mut counts, mut total) = (0, 0, 0);
        let mut swept = begin;
        let sum = |due: Vec<Count>| due.iter().map(|count| count.repeated).sum::<u64>();
        for number in 0..count {
            let now = begin + length * number / count;
            while swept + Duration::from_secs(1) <= now {
                swept += Duration::from_secs(1);
                let due = fold.due(swept);
                counts += due.len();
                total += sum(due);
            }
            if let Some(repeated) = fold.note(now, peer(number), &refusal("a")) {
                lines += 1;
                total += repeated + 1;
            }
        }
        let last = fold.finish();
        counts += last.len();
        total += sum(last);
        (lines, counts, total)
    }

    #[test]
    fn the_first_refusals_are_lines_and_further_ones_a_count() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        for _ in 0..LINES_MAX {
            assert_eq!(fold.note(now, A, &refusal("a")), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(fold.note(now, A, &refusal("a")), None);
        }
        // Another reason and another peer have lines of their own.
        assert_eq!(fold.note(now, A, &refusal("b")), Some(0));
        assert_eq!(fold.note(now, B, &refusal("a")), Some(0));
        assert_eq!(fold.due(now), []);
        let count = Count { peer: Some(A), refusal: refusal("a"), repeated: 7 };
        assert_eq!(fold.due(now + WINDOW_MIN), [count]);
        assert_eq!(fold.due(now + 2 * WINDOW_MIN), []);
    }

    #[test]
    fn who_goes_on_is_reported_less_and_less_often() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        let hour = (36_000, Duration::from_hours(1));
        let (lines, counts, total) = burst(&mut fold, now, hour, |_| A);
        assert_eq!(lines, 5);
        assert!((60..70).contains(&counts), "{counts}");
        assert_eq!(total, 36_000);
    }

    #[test]
    fn a_burst_is_tens_of_lines_whatever_it_comes_from() {
        for seconds in [0, 1, 10, 30] {
            for peers in [1, 7, 10_000] {
                let now = SystemClock.monotonic();
                let mut fold = Fold::new(now);
                let length = Duration::from_secs(seconds);
                let (lines, counts, total) =
                    burst(&mut fold, now, (10_000, length), |number| nth(number % peers));
                assert!(lines + counts < 100, "{peers} in {seconds} s: {lines} and {counts}");
                assert_eq!(total, 10_000, "{peers} in {seconds} s");
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        for number in 0..20_000 {
            // As slowly as lines are allowed, so that each could have one.
            now += Duration::from_secs(1);
            fold.note(now, nth(number), &refusal("a"));
            fold.note(now, A, &refusal(&number.to_string()));
        }
        assert!(fold.entries.len() <= ENTRIES_MAX + 1, "{}", fold.entries.len());
        let last = fold.finish();
        assert_eq!(last.len(), LAST_COUNTS_MAX + 1);
        assert_eq!(last.last().unwrap().refusal, Refusal::various());
    }

    #[test]
    fn after_a_quiet_time_a_refusal_is_a_line_again() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        while fold.note(now, A, &refusal("a")).is_some() {}
        assert_eq!(fold.due(now + WINDOW_MIN).len(), 1);
        assert!(!fold.is_empty());
        assert_eq!(fold.due(now + QUIET), []);
        assert!(fold.is_empty());
        assert_eq!(fold.note(now + QUIET, A, &refusal("a")), Some(0));
    }

    #[test]
    fn what_is_left_at_the_end_keeps_its_reason_where_it_is_one() {
        let now = SystemClock.monotonic();
        for (odd, last) in [("a", refusal("a")), ("b", Refusal::various())] {
            let mut fold = Fold::new(now);
            for number in 0..30 {
                let reason = if number % 2 == 0 { "a" } else { odd };
                let key = Key { peer: Some(nth(number)), refusal: refusal(reason) };
                // The last ones are the fewest.
                let repeated = 100 - u64::from(number);
                let entry = Entry { repeated, ..Entry::new(now, nth(number), LINES_MAX) };
                fold.entries.insert(key, entry);
            }
            let counts = fold.finish();
            assert_eq!(counts.len(), LAST_COUNTS_MAX + 1);
            let repeated = (71..=80).sum();
            assert_eq!(counts.last(), Some(&Count { peer: None, refusal: last, repeated }));
        }
    }

    #[test]
    fn a_flood_from_elsewhere_does_not_hide_a_reason() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        for number in 0..10_000 {
            fold.note(now, nth(number), &refusal("flood"));
        }
        assert_eq!(fold.note(now, A, &refusal("mine")), None);
        let due = fold.due(now + WINDOW_MIN);
        // One alone is not several, and is named.
        let mine = Count { peer: Some(A), refusal: refusal("mine"), repeated: 1 };
        assert!(due.contains(&mine), "{due:?}");
        assert_eq!(due.len(), 2);
    }
}
