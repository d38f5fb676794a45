//! Folds repeated log events: decides which are logged at once, and which are counted and reported later, so that a
//! burst is a few lines and a count.
//!
//! A state machine over a clock: it logs nothing and waits for nothing. Every event is in a line of
//! its own or in a count. The first events of a kind from a source are lines. Further ones are counted;
//! the count is reported after a second, then after two, four and so on up to the longest window of
//! the kind. Over all sources, lines are limited by a token bucket; what is beyond it is counted
//! together.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// After this long without an event a kind and its source are forgotten.
const QUIET: Duration = Duration::from_mins(1);

/// The time until the first count is reported. It doubles with each count.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// Counts that are reported at the end; what is beyond them is one more count.
const LAST_COUNTS_MAX: usize = 20;

/// Pairs of kind and source that are remembered.
const SOURCES_MAX: usize = 1024;

/// Kinds of sources that are not remembered.
const OTHERS_MAX: usize = 64;

/// What events are folded by.
pub(crate) trait Kind: Clone + Debug + Eq + Hash {
    /// Where events come from; those of each source are counted apart.
    type Source: Clone + Debug + Eq + Hash;

    /// The longest time between two counts of a kind.
    const WINDOW_MAX: Duration;

    /// Counts that are reported at a time.
    const COUNTS_MAX: usize;

    /// Sources of one kind that have lines of their own.
    const SOURCES_PER_KIND: usize;

    /// Lines of all kinds and sources: so many at once, then one a second.
    const BURST_MAX: u64;

    /// Lines for one source, until there was no event of the kind for [`QUIET`].
    fn lines_max(&self) -> u32;

    /// Events of different kinds, counted together.
    fn various() -> Self;
}

/// The events of the last minute.
#[derive(Debug)]
pub(crate) struct Fold<K: Kind> {
    entries: HashMap<Key<K>, Entry<K>>,
    /// Entries of sources that are not remembered.
    others: usize,
    tokens: u64,
    refilled: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key<K: Kind> {
    /// None means sources that are not remembered.
    source: Option<K::Source>,
    kind: K,
}

#[derive(Debug)]
struct Entry<K: Kind> {
    lines: u32,
    /// Events that are in no line and no count yet.
    repeated: u64,
    window: Duration,
    /// When the next count may be reported.
    due: Instant,
    last: Instant,
    last_source: K::Source,
}

/// How often an event was repeated without a line of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Count<K: Kind> {
    /// None means several sources.
    pub(crate) source: Option<K::Source>,
    pub(crate) kind: K,
    pub(crate) repeated: u64,
}

impl<K: Kind> Fold<K> {
    pub(crate) fn new(now: Instant) -> Self {
        Self { entries: HashMap::new(), others: 0, tokens: K::BURST_MAX, refilled: now }
    }

    /// Notes so many events, one at least. If one of them is to be logged at once: how many the line
    /// stands for besides it, those counted since the last line included.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        source: &K::Source,
        kind: &K,
        times: u64,
    ) -> Option<u64> {
        let has_token = self.has_token(now);
        let key = Key { source: Some(source.clone()), kind: kind.clone() };
        if !self.entries.contains_key(&key) {
            if !has_token || !self.has_room(kind) {
                self.count_with_others(now, source, kind, times);
                return None;
            }
            self.tokens -= 1;
            self.entries.insert(key, Entry::new(now, source.clone(), 1));
            return Some(times.saturating_sub(1));
        }
        let entry = self.entries.get_mut(&key)?;
        entry.last = now;
        entry.repeated = entry.repeated.saturating_add(times);
        if !has_token || entry.lines >= kind.lines_max() {
            return None;
        }
        self.tokens -= 1;
        entry.lines += 1;
        Some(std::mem::take(&mut entry.repeated).saturating_sub(1))
    }

    /// Counts that are due. Forgets what was not repeated for a while.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Count<K>> {
        self.entries.retain(|_, entry| entry.repeated > 0 || now < entry.last + QUIET);
        self.others = self.entries.keys().filter(|key| key.source.is_none()).count();
        let is_due = |entry: &Entry<K>| entry.repeated > 0 && entry.due <= now;
        let mut due: Vec<_> = self.entries.iter_mut().filter(|(_, entry)| is_due(entry)).collect();
        due.sort_by_key(|(_, entry)| entry.due);
        let due = due.into_iter().take(K::COUNTS_MAX).map(|(key, entry)| {
            entry.window = K::WINDOW_MAX.min(entry.window * 2);
            entry.due = now + entry.window;
            key.take_count(entry)
        });
        due.collect()
    }

    /// Every count that was not reported.
    pub(crate) fn finish(&mut self) -> Vec<Count<K>> {
        self.others = 0;
        let counts = self.entries.drain().filter(|(_, entry)| entry.repeated > 0);
        let mut counts: Vec<_> =
            counts.map(|(key, mut entry)| key.take_count(&mut entry)).collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.repeated));
        let further = counts.split_off(LAST_COUNTS_MAX.min(counts.len()));
        if let [first, others @ ..] = further.as_slice() {
            let is_one = others.iter().all(|count| count.kind == first.kind);
            let kind = if is_one { first.kind.clone() } else { K::various() };
            let repeated = further.iter().map(|count| count.repeated).sum();
            counts.push(Count { source: None, kind, repeated });
        }
        counts
    }

    /// Whether nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counts events of a source that is not remembered.
    fn count_with_others(&mut self, now: Instant, source: &K::Source, kind: &K, times: u64) {
        let mut key = Key { source: None, kind: kind.clone() };
        if self.others >= OTHERS_MAX && !self.entries.contains_key(&key) {
            key.kind = K::various();
        }
        let entry = self.entries.entry(key).or_insert_with(|| {
            self.others += 1;
            Entry::new(now, source.clone(), kind.lines_max())
        });
        entry.repeated = entry.repeated.saturating_add(times);
        entry.last = now;
        entry.last_source = source.clone();
    }

    /// Whether one more source of a kind can be remembered.
    fn has_room(&self, kind: &K) -> bool {
        let is_of_kind = |key: &&Key<K>| key.source.is_some() && key.kind == *kind;
        self.entries.len() - self.others < SOURCES_MAX
            && (K::SOURCES_PER_KIND >= SOURCES_MAX
                || self.entries.keys().filter(is_of_kind).count() < K::SOURCES_PER_KIND)
    }

    fn has_token(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.refilled).as_secs();
        if seconds > 0 {
            self.tokens = K::BURST_MAX.min(self.tokens.saturating_add(seconds));
            self.refilled += Duration::from_secs(seconds);
        }
        self.tokens > 0
    }
}

impl<K: Kind> Key<K> {
    fn take_count(&self, entry: &mut Entry<K>) -> Count<K> {
        let repeated = std::mem::take(&mut entry.repeated);
        // One is not several.
        let only = || (repeated == 1).then(|| entry.last_source.clone());
        let source = self.source.clone().or_else(only);
        Count { source, kind: self.kind.clone(), repeated }
    }
}

impl<K: Kind> Entry<K> {
    fn new(now: Instant, last_source: K::Source, lines: u32) -> Self {
        let (window, due) = (WINDOW_MIN, now + WINDOW_MIN);
        Self { lines, repeated: 0, window, due, last: now, last_source }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use kes_types::{Clock as _, SystemClock};

    use super::*;
    use crate::log::refusal::Refusal;

    const LINES_MAX: u32 = 5;

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
        fold: &mut Fold<Refusal>,
        begin: Instant,
        (count, length): (u32, Duration),
        peer: impl Fn(u32) -> IpAddr,
    ) -> (usize, usize, u64) {
        let (mut lines, mut counts, mut total) = (0, 0, 0);
        let mut swept = begin;
        let sum = |due: Vec<Count<Refusal>>| due.iter().map(|count| count.repeated).sum::<u64>();
        for number in 0..count {
            let now = begin + length * number / count;
            while swept + Duration::from_secs(1) <= now {
                swept += Duration::from_secs(1);
                let due = fold.due(swept);
                counts += due.len();
                total += sum(due);
            }
            if let Some(repeated) = fold.note(now, &peer(number), &refusal("a"), 1) {
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
            assert_eq!(fold.note(now, &A, &refusal("a"), 1), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(fold.note(now, &A, &refusal("a"), 1), None);
        }
        // Another reason and another peer have lines of their own.
        assert_eq!(fold.note(now, &A, &refusal("b"), 1), Some(0));
        assert_eq!(fold.note(now, &B, &refusal("a"), 1), Some(0));
        assert_eq!(fold.due(now), []);
        let count = Count { source: Some(A), kind: refusal("a"), repeated: 7 };
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
            fold.note(now, &nth(number), &refusal("a"), 1);
            fold.note(now, &A, &refusal(&number.to_string()), 1);
        }
        assert!(fold.entries.len() <= SOURCES_MAX + OTHERS_MAX + 1, "{}", fold.entries.len());
        let last = fold.finish();
        assert_eq!(last.len(), LAST_COUNTS_MAX + 1);
        assert_eq!(last.last().unwrap().kind, Refusal::various());
    }

    #[test]
    fn after_a_quiet_time_a_refusal_is_a_line_again() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        while fold.note(now, &A, &refusal("a"), 1).is_some() {}
        assert_eq!(fold.due(now + WINDOW_MIN).len(), 1);
        assert!(!fold.is_empty());
        assert_eq!(fold.due(now + QUIET), []);
        assert!(fold.is_empty());
        assert_eq!(fold.note(now + QUIET, &A, &refusal("a"), 1), Some(0));
    }

    #[test]
    fn what_is_left_at_the_end_keeps_its_reason_where_it_is_one() {
        let now = SystemClock.monotonic();
        for (odd, last) in [("a", refusal("a")), ("b", Refusal::various())] {
            let mut fold = Fold::new(now);
            for number in 0..30 {
                let reason = if number % 2 == 0 { "a" } else { odd };
                let key = Key { source: Some(nth(number)), kind: refusal(reason) };
                // The last ones are the fewest.
                let repeated = 100 - u64::from(number);
                let entry = Entry { repeated, ..Entry::new(now, nth(number), LINES_MAX) };
                fold.entries.insert(key, entry);
            }
            let counts = fold.finish();
            assert_eq!(counts.len(), LAST_COUNTS_MAX + 1);
            let repeated = (71..=80).sum();
            assert_eq!(counts.last(), Some(&Count { source: None, kind: last, repeated }));
        }
    }

    #[test]
    fn a_flood_from_elsewhere_does_not_hide_a_reason() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        for number in 0..10_000 {
            fold.note(now, &nth(number), &refusal("flood"), 1);
        }
        assert_eq!(fold.note(now, &A, &refusal("mine"), 1), None);
        let due = fold.due(now + WINDOW_MIN);
        // One alone is not several, and is named.
        let mine = Count { source: Some(A), kind: refusal("mine"), repeated: 1 };
        assert!(due.contains(&mine), "{due:?}");
        assert_eq!(due.len(), 2);
    }
}
