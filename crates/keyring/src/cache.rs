//! The cache of decoded keys: entries end by their age (TTL) or when they are unused, and the least recently
//! used one is evicted when there are too many. Pure: the time is an argument.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use hashlink::LinkedHashMap;
use kes_crypto::Key;
use kes_types::KeyName;

/// The longest a key in use goes without being read from the store again.
const REFRESH_AFTER_MAX: Duration = Duration::from_secs(30);

/// The jitter: by how much an entry may end early, so that keys that were read together do not end together: a
/// sixteenth of its time to live.
const JITTER_SHARE: u32 = 16;

/// How long keys are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheExpiry {
    /// An entry ends this long after it was read from the store; zero keeps nothing.
    pub any: Duration,
    /// An entry ends when it was not used for this long.
    pub unused: Duration,
}

impl CacheExpiry {
    /// How old an entry in use may get before it is read again in the background; well before it
    /// ends, so that a key in use never waits for the store.
    fn refresh_after(&self) -> Duration {
        (self.any / 2).min(REFRESH_AFTER_MAX)
    }

    /// How often [`Cache::sweep`] has to run.
    pub(crate) fn sweep_every(&self) -> Duration {
        self.any.min(self.unused).clamp(Duration::from_secs(1), REFRESH_AFTER_MAX)
    }
}

/// Keys by name. An entry that ended is never returned, whether or not it was swept.
#[derive(Debug)]
pub(crate) struct Cache {
    expiry: CacheExpiry,
    entries_max: usize,
    /// The least recently used first. The hasher is std's, which resists names that are chosen to collide.
    entries: LinkedHashMap<KeyName, Entry, RandomState>,
    jitter: Rng,
}

#[derive(Debug)]
struct Entry {
    key: Arc<Key>,
    ends_at: Instant,
    refresh_at: Instant,
    used_at: Instant,
}

/// The result of a lookup.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// The key.
    Hit(Arc<Key>),
    /// The key, which is due to be read again: one caller for each interval gets this.
    Refresh(Arc<Key>),
    /// Nothing.
    Miss,
}

impl Cache {
    pub(crate) fn new(expiry: CacheExpiry, entries_max: usize) -> Self {
        let entries = LinkedHashMap::with_hasher(RandomState::new());
        Self { expiry, entries_max, entries, jitter: Rng::new() }
    }

    /// Looks `name` up and counts as a use of it.
    pub(crate) fn lookup(&mut self, name: &KeyName, now: Instant) -> Lookup {
        let expiry = self.expiry;
        let Some(entry) = self.entries.to_back(name) else { return Lookup::Miss };
        if entry.has_ended(expiry, now) {
            self.entries.remove(name);
            return Lookup::Miss;
        }
        entry.used_at = now;
        let key = Arc::clone(&entry.key);
        if now >= entry.refresh_at {
            entry.refresh_at = now + expiry.refresh_after();
            Lookup::Refresh(key)
        } else {
            Lookup::Hit(key)
        }
    }

    /// Keeps a key that was just read; returns the one it replaces. Re-reading is not a use:
    /// a key that is not asked for any more still ends by `unused`.
    pub(crate) fn insert(
        &mut self,
        name: &KeyName,
        key: Arc<Key>,
        now: Instant,
    ) -> Option<Arc<Key>> {
        if self.expiry.any.is_zero() || self.expiry.unused.is_zero() {
            return None;
        }
        let ends_at = now + self.time_to_live();
        let refresh_at = now + self.expiry.refresh_after();
        if let Some(entry) = self.entries.get_mut(name) {
            entry.ends_at = ends_at;
            entry.refresh_at = refresh_at;
            return Some(std::mem::replace(&mut entry.key, key));
        }
        if self.entries.len() >= self.entries_max {
            // The least recently used.
            self.entries.pop_front();
        }
        self.entries.insert(name.clone(), Entry { key, ends_at, refresh_at, used_at: now });
        None
    }

    /// Drops the entry of `name`.
    pub(crate) fn remove(&mut self, name: &KeyName) {
        self.entries.remove(name);
    }

    /// Drops every entry that ended, so that its key material is wiped.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let expiry = self.expiry;
        self.entries.retain(|_, entry| !entry.has_ended(expiry, now));
    }

    /// `any`, less the jitter.
    fn time_to_live(&mut self) -> Duration {
        let jitter = (self.expiry.any / JITTER_SHARE).mul_f64(self.jitter.f64());
        self.expiry.any.saturating_sub(jitter)
    }
}

impl Entry {
    fn has_ended(&self, expiry: CacheExpiry, now: Instant) -> bool {
        now >= self.ends_at || now.saturating_duration_since(self.used_at) >= expiry.unused
    }
}

#[cfg(test)]
mod tests {
    use kes_crypto::{Key, SystemRandom};
    use kes_types::{Algorithm, Clock as _, SystemClock, Timestamp};

    use super::*;

    const ANY: Duration = Duration::from_mins(5);
    const UNUSED: Duration = Duration::from_secs(40);

    fn key() -> Arc<Key> {
        let random = SystemRandom::new();
        Arc::new(Key::generate(Algorithm::Aes256, Timestamp::ZERO, "", &random).unwrap())
    }

    fn name(text: &str) -> KeyName {
        KeyName::parse(text).unwrap()
    }

    fn cache(entries_max: usize) -> Cache {
        Cache::new(CacheExpiry { any: ANY, unused: UNUSED }, entries_max)
    }

    #[test]
    fn an_unused_entry_ends_and_a_used_one_lives_on() {
        let (mut cache, start) = (cache(10), SystemClock.monotonic());
        cache.insert(&name("a"), key(), start);
        let nearly = UNUSED * 99 / 100;
        assert!(!matches!(cache.lookup(&name("a"), start + nearly), Lookup::Miss));
        assert!(!matches!(cache.lookup(&name("a"), start + nearly * 2), Lookup::Miss));
        assert!(matches!(cache.lookup(&name("a"), start + nearly * 2 + UNUSED), Lookup::Miss));
    }

    #[test]
    fn an_entry_in_use_ends_when_it_was_not_read_again_for_long() {
        let (mut cache, start) = (cache(10), SystemClock.monotonic());
        cache.insert(&name("a"), key(), start);
        let mut now = start;
        while now < start + ANY * 15 / 16 {
            assert!(!matches!(cache.lookup(&name("a"), now), Lookup::Miss));
            now += Duration::from_secs(10);
        }
        assert!(matches!(cache.lookup(&name("a"), start + ANY), Lookup::Miss));
    }

    #[test]
    fn a_refresh_is_asked_for_once_per_interval() {
        let (mut cache, start) = (cache(10), SystemClock.monotonic());
        cache.insert(&name("a"), key(), start);
        let later = start + REFRESH_AFTER_MAX;
        assert!(matches!(
            cache.lookup(&name("a"), start + REFRESH_AFTER_MAX * 9 / 10),
            Lookup::Hit(_)
        ));
        assert!(matches!(cache.lookup(&name("a"), later), Lookup::Refresh(_)));
        assert!(matches!(cache.lookup(&name("a"), later), Lookup::Hit(_)));
        assert!(cache.insert(&name("a"), key(), later).is_some());
        assert!(matches!(cache.lookup(&name("a"), later + UNUSED / 2), Lookup::Hit(_)));
    }

    #[test]
    fn a_key_in_use_is_read_again_before_it_ends_however_short_its_life() {
        let start = SystemClock.monotonic();
        let any = Duration::from_secs(10);
        let mut cache = Cache::new(CacheExpiry { any, unused: UNUSED }, 10);
        cache.insert(&name("a"), key(), start);
        assert!(matches!(cache.lookup(&name("a"), start + any / 2), Lookup::Refresh(_)));
    }

    #[test]
    fn reading_again_is_not_a_use() {
        let (mut cache, start) = (cache(10), SystemClock.monotonic());
        cache.insert(&name("a"), key(), start);
        cache.insert(&name("a"), key(), start + UNUSED / 2);
        assert!(matches!(cache.lookup(&name("a"), start + UNUSED), Lookup::Miss));
    }

    #[test]
    fn the_least_recently_used_entry_is_evicted() {
        let (mut cache, start) = (cache(2), SystemClock.monotonic());
        cache.insert(&name("a"), key(), start);
        cache.insert(&name("b"), key(), start + Duration::from_secs(1));
        cache.lookup(&name("a"), start + Duration::from_secs(2));
        cache.insert(&name("c"), key(), start + Duration::from_secs(3));
        let now = start + Duration::from_secs(4);
        assert!(matches!(cache.lookup(&name("b"), now), Lookup::Miss));
        assert!(matches!(cache.lookup(&name("a"), now), Lookup::Hit(_)));
        assert!(matches!(cache.lookup(&name("c"), now), Lookup::Hit(_)));
    }

    #[test]
    fn sweeping_drops_what_ended_and_zero_keeps_nothing() {
        let (mut cache, start) = (cache(10), SystemClock.monotonic());
        cache.insert(&name("a"), key(), start);
        cache.sweep(start + UNUSED);
        assert!(cache.entries.is_empty());
        let mut off = Cache::new(CacheExpiry { any: Duration::ZERO, unused: UNUSED }, 10);
        off.insert(&name("a"), key(), start);
        assert!(matches!(off.lookup(&name("a"), start), Lookup::Miss));
    }
}
