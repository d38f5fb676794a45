//! Decides which events of a kind are logged at once and which are counted, so that a burst of events is a
//! few lines and a count.
//!
//! It is a state machine that is driven by timestamps; it does no I/O and does not wait. Every event is in
//! a line of its own or in a count. The first events of a kind from a source are lines. Further ones are
//! counted; the count is reported after a second, then after two, four and so on up to the longest window
//! of the kind. A token bucket limits the lines of all sources; events that exceed it are counted together.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// After this time without an event the entry of a kind and source is removed.
const QUIET: Duration = Duration::from_mins(1);

/// The time until the first count is reported; it doubles with each count.
const WINDOW_MIN: Duration = Duration::from_secs(1);

/// How many counts are reported at the end; the remaining ones are reported as one count.
const LAST_COUNTS_MAX: usize = 20;

/// How many pairs of kind and source have entries.
const SOURCES_MAX: usize = 1024;

/// How many kinds have an entry for sources without one.
const OTHERS_MAX: usize = 64;

/// The kind of an event, by which events are folded.
pub(crate) trait Kind: Clone + Debug + Eq + Hash {
    /// The source of events; those of each source are counted separately.
    type Source: Clone + Debug + Eq + Hash;

    /// The longest time between two counts of a kind.
    const WINDOW_MAX: Duration;

    /// How many counts are reported at once.
    const COUNTS_MAX: usize;

    /// How many sources of one kind have lines of their own.
    const SOURCES_PER_KIND: usize;

    /// How many lines of all kinds and sources are logged at once; after that one per second.
    const BURST_MAX: u64;

    /// Returns how many lines one source has, until there was no event of the kind for [`QUIET`].
    fn lines_max(&self) -> u32;

    /// Returns the kind of a count that includes different kinds.
    fn various() -> Self;
}

/// Holds the events of the last minute.
#[derive(Debug)]
pub(crate) struct Fold<K: Kind> {
    entries: HashMap<Key<K>, Entry<K>>,
    /// Number of entries for sources without an entry of their own.
    others: usize,
    tokens: u64,
    refilled: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key<K: Kind> {
    /// `None` for all sources without an entry of their own.
    source: Option<K::Source>,
    kind: K,
}

#[derive(Debug)]
struct Entry<K: Kind> {
    lines: u32,
    /// Number of events that are in no line and no count yet.
    repeated: u64,
    window: Duration,
    /// When the next count may be reported.
    due: Instant,
    last: Instant,
    last_source: K::Source,
}

/// The number of events of a kind that have no line of their own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Count<K: Kind> {
    /// `None` for several sources.
    pub(crate) source: Option<K::Source>,
    pub(crate) kind: K,
    pub(crate) repeated: u64,
}

impl<K: Kind> Fold<K> {
    pub(crate) fn new(now: Instant) -> Self {
        Self { entries: HashMap::new(), others: 0, tokens: K::BURST_MAX, refilled: now }
    }

    /// Counts `times` events, at least one. If one of them has to be logged at once, returns how many further
    /// events the line includes, with those that were counted since the last line.
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
            if !has_token || !self.has_space(kind) {
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

    /// Returns the counts that are due, and removes entries without recent events.
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

    /// Returns all counts that were not reported.
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

    /// Returns whether there are no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counts events of a source without an entry of its own.
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

    /// Returns whether one more source of a kind can have an entry.
    fn has_space(&self, kind: &K) -> bool {
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
        // A count of one event has a single source.
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

    /// Counts `count` refusals over `length`, and fetches due counts each second. Returns the number of lines, the
    /// number of counts, and how many refusals they include.
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
    fn repeated_refusals_are_reported_at_growing_intervals() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        let hour = (36_000, Duration::from_hours(1));
        let (lines, counts, total) = burst(&mut fold, now, hour, |_| A);
        assert_eq!(lines, 5);
        assert!((60..70).contains(&counts), "{counts}");
        assert_eq!(total, 36_000);
    }

    #[test]
    fn a_burst_is_tens_of_lines_from_any_number_of_peers() {
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
    fn the_number_of_entries_is_limited() {
        let mut now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        for number in 0..20_000 {
            // At the rate at which lines are allowed, so that each refusal could have one.
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
    fn the_last_count_keeps_its_reason_if_there_is_only_one() {
        let now = SystemClock.monotonic();
        for (odd, last) in [("a", refusal("a")), ("b", Refusal::various())] {
            let mut fold = Fold::new(now);
            for number in 0..30 {
                let reason = if number % 2 == 0 { "a" } else { odd };
                let key = Key { source: Some(nth(number)), kind: refusal(reason) };
                // The last peers have the fewest refusals.
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
    fn a_burst_of_other_peers_does_not_hide_a_reason() {
        let now = SystemClock.monotonic();
        let mut fold = Fold::new(now);
        for number in 0..10_000 {
            fold.note(now, &nth(number), &refusal("burst"), 1);
        }
        assert_eq!(fold.note(now, &A, &refusal("mine"), 1), None);
        let due = fold.due(now + WINDOW_MIN);
        // A single refusal is reported with its peer.
        let mine = Count { source: Some(A), kind: refusal("mine"), repeated: 1 };
        assert!(due.contains(&mine), "{due:?}");
        assert_eq!(due.len(), 2);
    }
}
