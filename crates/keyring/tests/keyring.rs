//! The keyring in front of a store whose answers wait for a signal.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::disallowed_methods, reason = "the test's runtime owns its tasks")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use futures_util::poll;
use kes_crypto::SystemRandom;
use kes_keyring::{CacheExpiry, CallError, CreateError, GetError, Keyring, KeyringDeps};
use kes_policy::{Admin, Permit, PolicySet, RequestPath};
use kes_store::{KeyStore, ListQuery, Page, StoreError};
use kes_types::{Clock, Identity, KeyName, Secret, SystemClock};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// A store in memory. A read takes its value, then waits for a permit of `gate` before it answers.
#[derive(Debug)]
struct Gated {
    values: Mutex<BTreeMap<KeyName, Secret>>,
    reads: AtomicUsize,
    read_begun: Semaphore,
    gate: Semaphore,
    is_down: Mutex<bool>,
}

impl Gated {
    fn new(open: bool) -> Arc<Self> {
        Arc::new(Self {
            values: Mutex::default(),
            reads: AtomicUsize::new(0),
            read_begun: Semaphore::new(0),
            gate: Semaphore::new(if open { 1 << 20 } else { 0 }),
            is_down: Mutex::new(false),
        })
    }

    async fn wait_for_a_read(&self) {
        self.read_begun.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl KeyStore for Gated {
    async fn status(&self) -> Result<Duration, StoreError> {
        Ok(Duration::ZERO)
    }

    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError> {
        let mut values = self.values.lock().unwrap();
        if values.contains_key(name) {
            return Err(StoreError::Exists(name.clone()));
        }
        values.insert(name.clone(), value);
        Ok(())
    }

    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let value = self.values.lock().unwrap().get(name).cloned();
        let is_down = *self.is_down.lock().unwrap();
        self.read_begun.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        if is_down {
            return Err(StoreError::Unreachable("down".into()));
        }
        value.ok_or_else(|| StoreError::NotFound(name.clone()))
    }

    async fn delete(&self, name: &KeyName) -> Result<(), StoreError> {
        let removed = self.values.lock().unwrap().remove(name);
        removed.map(drop).ok_or_else(|| StoreError::NotFound(name.clone()))
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        Ok(Page::select(self.values.lock().unwrap().keys().cloned(), query))
    }
}

/// A clock that stands until it is moved.
#[derive(Debug)]
struct Hands(Mutex<Instant>);

impl Hands {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SystemClock.monotonic())))
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for Hands {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn monotonic(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}

fn keyring(store: &Arc<Gated>, clock: &Arc<Hands>) -> Arc<Keyring> {
    limited(store, clock, 256, 4096)
}

fn limited(
    store: &Arc<Gated>,
    clock: &Arc<Hands>,
    calls_max: usize,
    waiting_max: usize,
) -> Arc<Keyring> {
    Arc::new(Keyring::new(KeyringDeps {
        store: Arc::clone(store) as Arc<dyn KeyStore>,
        expiry: CacheExpiry { any: Duration::from_mins(5), unused: Duration::from_mins(1) },
        probe_every: Duration::from_secs(10),
        calls_max,
        waiting_max,
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        random: Arc::new(SystemRandom::new()),
        tasks: TaskTracker::new(),
    }))
}

fn permit() -> Permit {
    PolicySet::new(Admin::new("disabled"), Vec::new()).unwrap().configuration()
}

/// The permit of a caller of its own.
fn permit_of(seed: u8) -> Permit {
    let identity = Identity::of_public_key(&[seed]);
    let set = PolicySet::new(Admin::new(&identity.to_string()), Vec::new()).unwrap();
    set.subject(&identity).authorize(&RequestPath::exact("/")).unwrap()
}

fn numbered(number: usize) -> KeyName {
    KeyName::parse(&format!("key-{number}")).unwrap()
}

fn name() -> KeyName {
    KeyName::parse("my-key").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_misses_make_one_read_and_then_none() {
    let store = Gated::new(false);
    let keyring = keyring(&store, &Hands::new());
    keyring.create(&permit(), &name()).await.unwrap();
    let gets = (0..100).map(|_| {
        let keyring = Arc::clone(&keyring);
        tokio::spawn(async move { keyring.get(&permit(), &name()).await.unwrap() })
    });
    let gets: Vec<_> = gets.collect();
    store.wait_for_a_read().await;
    store.gate.add_permits(1000);
    let mut keys = Vec::new();
    for get in gets {
        keys.push(get.await.unwrap());
    }
    assert!(keys.windows(2).all(|pair| pair[0].same_material(&pair[1])));
    keyring.get(&permit(), &name()).await.unwrap();
    assert_eq!(store.reads.load(Ordering::SeqCst), 1);
}

/// How often the race is run. Where the look into the cache and the joining of a read are two
/// steps, it is lost within some hundred rounds, seldom only after 3,000.
const ROUNDS: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_miss_while_the_read_lands_does_not_read_again() {
    let store = Gated::new(true);
    let keyring = keyring(&store, &Hands::new());
    for round in 1..=ROUNDS {
        let name = KeyName::parse(&format!("key-{round}")).unwrap();
        keyring.create(&permit(), &name).await.unwrap();
        let gets = [(); 4].map(|()| {
            let (keyring, name) = (Arc::clone(&keyring), name.clone());
            tokio::spawn(async move { keyring.get(&permit(), &name).await.unwrap() })
        });
        for get in gets {
            get.await.unwrap();
        }
        assert_eq!(store.reads.load(Ordering::SeqCst), round);
    }
}

#[tokio::test]
async fn any_client_joined_a_read_that_found_nothing_reads_again() {
    let store = Gated::new(false);
    let keyring = keyring(&store, &Hands::new());
    let (permit, name) = (permit(), name());
    let first = keyring.get(&permit, &name);
    let second = async {
        store.wait_for_a_read().await;
        // Another server creates the key while the first read is on its way.
        let other = self::keyring(&store, &Hands::new());
        other.create(&permit, &name).await.unwrap();
        let joined = keyring.get(&permit, &name);
        store.gate.add_permits(2);
        joined.await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.unwrap_err().is_not_found());
    assert!(second.is_ok());
}

#[tokio::test]
async fn a_read_that_races_a_delete_does_not_bring_the_key_back() {
    let store = Gated::new(false);
    let keyring = keyring(&store, &Hands::new());
    let (permit, name) = (permit(), name());
    keyring.create(&permit, &name).await.unwrap();
    let racing = keyring.get(&permit, &name);
    let delete = async {
        store.wait_for_a_read().await;
        keyring.delete(&permit, &name).await.unwrap();
        store.gate.add_permits(2);
    };
    let (racing, ()) = tokio::join!(racing, delete);
    racing.unwrap();
    assert!(keyring.get(&permit, &name).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_created_key_is_read_from_the_store_before_it_is_used() {
    let store = Gated::new(true);
    let keyring = keyring(&store, &Hands::new());
    let (permit, name) = (permit(), name());
    keyring.create(&permit, &name).await.unwrap();
    assert_eq!(store.reads.load(Ordering::SeqCst), 0);
    keyring.get(&permit, &name).await.unwrap();
    assert_eq!(store.reads.load(Ordering::SeqCst), 1);
    let again = keyring.create(&permit, &name).await;
    assert!(matches!(again, Err(CreateError::Store(_, StoreError::Exists(_)))));
}

#[tokio::test]
async fn a_store_that_is_down_is_never_a_missing_key_and_is_asked_again() {
    let store = Gated::new(true);
    let keyring = keyring(&store, &Hands::new());
    let (permit, name) = (permit(), name());
    keyring.create(&permit, &name).await.unwrap();
    *store.is_down.lock().unwrap() = true;
    assert!(!keyring.get(&permit, &name).await.unwrap_err().is_not_found());
    *store.is_down.lock().unwrap() = false;
    keyring.get(&permit, &name).await.unwrap();
}

#[tokio::test]
async fn a_value_that_is_no_key_is_never_a_missing_key() {
    let store = Gated::new(true);
    let keyring = keyring(&store, &Hands::new());
    for value in ["", "{}", "junk", "AAAA"] {
        let value = Secret::new(value.as_bytes().to_vec());
        store.values.lock().unwrap().insert(name(), value);
        assert!(!keyring.get(&permit(), &name()).await.unwrap_err().is_not_found());
    }
}

#[tokio::test]
async fn a_key_in_use_is_read_again_in_the_background_and_its_end_is_noticed() {
    let (store, clock) = (Gated::new(true), Hands::new());
    let keyring = keyring(&store, &clock);
    let (permit, name) = (permit(), name());
    keyring.create(&permit, &name).await.unwrap();
    let old = keyring.get(&permit, &name).await.unwrap();
    store.wait_for_a_read().await;

    // Another writer replaces the key: the old one is served until the new one was read.
    store.values.lock().unwrap().clear();
    let other = self::keyring(&store, &Hands::new());
    other.create(&permit, &name).await.unwrap();
    clock.advance(Duration::from_secs(30));
    let served = keyring.get(&permit, &name).await.unwrap();
    assert!(served.same_material(&old));
    store.wait_for_a_read().await;
    while keyring.get(&permit, &name).await.unwrap().same_material(&old) {
        tokio::task::yield_now().await;
    }

    // Another writer deletes it: it is gone as soon as that was noticed.
    store.values.lock().unwrap().clear();
    clock.advance(Duration::from_secs(30));
    keyring.get(&permit, &name).await.unwrap();
    store.wait_for_a_read().await;
    while keyring.get(&permit, &name).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_caller_with_many_missing_keys_delays_another_by_one_turn() {
    let store = Gated::new(false);
    let keyring = limited(&store, &Hands::new(), 2, 4096);
    let (crowd, other) = (permit_of(1), permit_of(2));
    let mut many: Vec<_> = (0..1000)
        .map(|number| {
            let (keyring, permit) = (Arc::clone(&keyring), crowd.clone());
            Box::pin(async move { keyring.get(&permit, &numbered(number)).await })
        })
        .collect();
    for get in &mut many {
        assert!(poll!(get).is_pending());
    }
    store.wait_for_a_read().await;
    store.wait_for_a_read().await;
    let name = name();
    let mut get = Box::pin(keyring.get(&other, &name));
    assert!(poll!(&mut get).is_pending());
    // The turn of the crowd, whose second read waited longer, then the other's.
    store.gate.add_permits(2);
    assert!(
        tokio::time::timeout(Duration::from_secs(5), async {
            store.wait_for_a_read().await;
            store.wait_for_a_read().await;
            store.gate.add_permits(2);
            get.await.unwrap_err().is_not_found()
        })
        .await
        .unwrap()
    );
    assert!(store.reads.load(Ordering::SeqCst) < 10);
}

#[tokio::test]
async fn a_key_that_a_crowd_waits_for_is_read_in_the_turn_of_any_client_comes_first() {
    let store = Gated::new(false);
    let keyring = limited(&store, &Hands::new(), 1, 4096);
    let (crowd, other) = (permit_of(1), permit_of(2));
    let names: Vec<_> = (0..100).map(numbered).collect();
    let mut many: Vec<_> = names.iter().map(|name| Box::pin(keyring.get(&crowd, name))).collect();
    for get in &mut many {
        assert!(poll!(get).is_pending());
    }
    store.wait_for_a_read().await;
    // The last of the crowd's keys.
    let mut get = Box::pin(keyring.get(&other, &names[99]));
    assert!(poll!(&mut get).is_pending());
    store.gate.add_permits(3);
    tokio::time::timeout(Duration::from_secs(5), get).await.unwrap().unwrap_err();
    let last = many.pop().unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(5), last).await.unwrap().is_err());
    assert!(store.reads.load(Ordering::SeqCst) < 10);
}

#[tokio::test]
async fn a_full_queue_is_busy_for_its_client_alone_and_is_never_a_missing_key() {
    let store = Gated::new(false);
    let keyring = limited(&store, &Hands::new(), 1, 3);
    let (crowd, other) = (permit_of(1), permit_of(2));
    let names: Vec<_> = (0..4).map(numbered).collect();
    let mut many: Vec<_> = names.iter().map(|name| Box::pin(keyring.get(&crowd, name))).collect();
    for get in &mut many {
        assert!(poll!(get).is_pending());
    }
    store.wait_for_a_read().await;
    let name = name();
    let refused = keyring.get(&crowd, &name).await.unwrap_err();
    assert!(matches!(*refused, GetError::Busy(..)) && !refused.is_not_found());
    let query = ListQuery { prefix: String::new(), from: None, limit: Keyring::PAGE_NAMES_MAX };
    assert!(matches!(keyring.list(&crowd, &query).await, Err(CallError::Busy(_))));
    assert!(matches!(keyring.delete(&crowd, &name).await, Err(CallError::Busy(_))));
    assert!(matches!(keyring.create(&crowd, &name).await, Err(CreateError::Busy(..))));

    let mut waiting = Box::pin(keyring.list(&other, &query));
    assert!(poll!(&mut waiting).is_pending());
    // The server's own calls have slots of their own.
    keyring.status().await.unwrap();
    keyring.create(&permit(), &name).await.unwrap();
    // A client that disconnects leaves the queue.
    drop(many.drain(1..));
    store.gate.add_permits(1);
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
    assert_eq!(store.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_waited_for_its_turn_in_vain_is_busy() {
    let store = Gated::new(false);
    let keyring = limited(&store, &Hands::new(), 1, 10);
    let (first, second) = (numbered(1), numbered(2));
    let permit = permit_of(1);
    let mut running = Box::pin(keyring.get(&permit, &first));
    assert!(poll!(&mut running).is_pending());
    store.wait_for_a_read().await;
    let waiting = keyring.get(&permit, &second).await.unwrap_err();
    assert!(matches!(*waiting, GetError::Busy(..)));
    // The store's silence is the store's.
    assert!(matches!(*running.await.unwrap_err(), GetError::Store(_, StoreError::Unreachable(_))));
}
