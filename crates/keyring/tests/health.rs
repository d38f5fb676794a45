//! The health of a store that can be lost, that hangs, and that comes back. Time is virtual.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::disallowed_methods, reason = "the test's runtime owns its tasks")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use kes_crypto::SystemRandom;
use kes_keyring::{CacheExpiry, Health, Keyring, KeyringDeps};
use kes_policy::{Admin, Permit, PolicySet};
use kes_store::{KeyStore, ListQuery, Page, StoreError};
use kes_types::{Clock, KeyName, Secret};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const EVERY: Duration = Duration::from_secs(10);
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const READ_TIMEOUT: Duration = Duration::from_secs(12);

/// How the store is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behavior {
    Well,
    Away,
    Hangs,
    /// Its health is fine, and whatever else it is asked hangs.
    HangsInCalls,
    Refuses,
}

/// A store without keys.
#[derive(Debug)]
struct FaultyStore {
    behavior: watch::Sender<Behavior>,
    looks: AtomicUsize,
}

impl FaultyStore {
    async fn answer(&self, hangs: &[Behavior]) -> Result<(), StoreError> {
        let mut behavior = self.behavior.subscribe();
        let behavior = *behavior.wait_for(|behavior| !hangs.contains(behavior)).await.unwrap();
        match behavior {
            Behavior::Away => Err(StoreError::Unreachable("away".into())),
            Behavior::Refuses => Err(StoreError::Refused("no".into())),
            Behavior::Well | Behavior::Hangs | Behavior::HangsInCalls => Ok(()),
        }
    }

    async fn call(&self) -> Result<(), StoreError> {
        self.answer(&[Behavior::Hangs, Behavior::HangsInCalls]).await
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeyStore for FaultyStore {
    async fn status(&self) -> Result<Duration, StoreError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.answer(&[Behavior::Hangs]).await.map(|()| Duration::ZERO)
    }

    async fn create(&self, _: &KeyName, _: Secret) -> Result<(), StoreError> {
        self.call().await
    }

    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError> {
        self.call().await?;
        Err(StoreError::NotFound(name.clone()))
    }

    async fn delete(&self, name: &KeyName) -> Result<(), StoreError> {
        self.call().await?;
        Err(StoreError::NotFound(name.clone()))
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.call().await?;
        Ok(Page::select([], query))
    }
}

/// The runtime's time, which stands while there is something to do and jumps when there is not.
#[derive(Debug)]
struct Virtual;

impl Clock for Virtual {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn monotonic(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

struct Fixture {
    store: Arc<FaultyStore>,
    keyring: Arc<Keyring>,
    stop: CancellationToken,
    probing: JoinHandle<()>,
    health: watch::Receiver<Health>,
}

impl Fixture {
    /// A keyring whose probe has looked once.
    async fn new() -> Self {
        let store = Arc::new(FaultyStore {
            behavior: watch::Sender::new(Behavior::Well),
            looks: AtomicUsize::new(0),
        });
        let keyring = keyring(&store);
        let stop = CancellationToken::new();
        let probing = tokio::spawn(Arc::clone(&keyring).probe_until(stop.clone()));
        let mut health = keyring.health();
        health.wait_for(|health| *health == Health::Reachable).await.unwrap();
        health.mark_unchanged();
        Self { store, keyring, stop, probing, health }
    }

    /// What the health changes to, and after how long.
    async fn change(&mut self) -> (Health, Duration) {
        let start = Instant::now();
        self.health.changed().await.unwrap();
        (*self.health.borrow_and_update(), start.elapsed())
    }

    fn ask(&self) -> JoinHandle<Result<Duration, Arc<StoreError>>> {
        let keyring = Arc::clone(&self.keyring);
        tokio::spawn(async move { keyring.status().await })
    }

    /// Until every task waits for something; time moves on by a trifle.
    async fn idle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn fails(&self) {
        let name = KeyName::parse("my-key").unwrap();
        let error = self.keyring.get(&permit(), &name).await.unwrap_err();
        assert!(!error.is_not_found());
    }
}

fn keyring(store: &Arc<FaultyStore>) -> Arc<Keyring> {
    Arc::new(Keyring::new(KeyringDeps {
        store: Arc::clone(store) as Arc<dyn KeyStore>,
        expiry: CacheExpiry { any: Duration::from_mins(5), unused: Duration::from_mins(1) },
        probe_every: EVERY,
        calls_max: 256,
        waiting_max: 4096,
        clock: Arc::new(Virtual),
        random: Arc::new(SystemRandom::new()),
        tasks: TaskTracker::new(),
    }))
}

fn permit() -> Permit {
    PolicySet::new(Admin::new("disabled"), Vec::new()).unwrap().configuration()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_no_one_calls_is_looked_at_regularly() {
    let mut fixture = Fixture::new().await;
    fixture.store.behavior.send_replace(Behavior::Away);
    let (health, after) = fixture.change().await;
    assert_eq!(health, Health::Unreachable);
    assert!(after.abs_diff(EVERY) < MIN_INTERVAL, "{after:?}");
    fixture.store.behavior.send_replace(Behavior::Refuses);
    let (health, after) = fixture.change().await;
    assert_eq!(health, Health::Refused);
    assert!(after.abs_diff(EVERY) < MIN_INTERVAL, "{after:?}");
    assert_eq!(fixture.store.looks(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_makes_the_store_be_looked_at_at_once_but_never_all_the_time() {
    let mut fixture = Fixture::new().await;
    fixture.store.behavior.send_replace(Behavior::Away);
    fixture.fails().await;
    let (health, after) = fixture.change().await;
    assert_eq!(health, Health::Unreachable);
    assert!(after <= MIN_INTERVAL, "{after:?}");
    // However many fail: the next look is as far away, and they cost no other.
    let looks = fixture.store.looks();
    for _ in 0..1000 {
        fixture.fails().await;
    }
    fixture.store.behavior.send_replace(Behavior::Well);
    let (health, after) = fixture.change().await;
    assert_eq!(health, Health::Reachable);
    assert!(after <= MIN_INTERVAL, "{after:?}");
    assert_eq!(fixture.store.looks(), looks + 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_or_a_missing_key_is_no_reason_to_look() {
    let mut fixture = Fixture::new().await;
    let name = KeyName::parse("my-key").unwrap();
    assert!(fixture.keyring.get(&permit(), &name).await.unwrap_err().is_not_found());
    fixture.store.behavior.send_replace(Behavior::Refuses);
    fixture.fails().await;
    let (health, after) = fixture.change().await;
    assert_eq!(health, Health::Refused);
    assert!(after > MIN_INTERVAL, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up_in_time_and_looked_at_again() {
    let mut fixture = Fixture::new().await;
    fixture.store.behavior.send_replace(Behavior::Hangs);
    let start = Instant::now();
    fixture.fails().await;
    assert_eq!(start.elapsed().as_secs(), READ_TIMEOUT.as_secs());
    let (health, _) = fixture.change().await;
    assert_eq!(health, Health::Unreachable);
    fixture.store.behavior.send_replace(Behavior::Well);
    assert_eq!(fixture.change().await.0, Health::Reachable);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_makes_the_store_be_looked_at_too() {
    let fixture = Fixture::new().await;
    fixture.store.behavior.send_replace(Behavior::HangsInCalls);
    // The call is given up between the second and the third of the regular looks.
    assert!(EVERY + MIN_INTERVAL < READ_TIMEOUT && READ_TIMEOUT < EVERY * 2);
    fixture.fails().await;
    fixture.idle().await;
    assert_eq!(fixture.store.looks(), 3);
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_for_the_status_at_once_share_a_question() {
    let fixture = Fixture::new().await;
    fixture.store.behavior.send_replace(Behavior::Hangs);
    let looks = fixture.store.looks();
    let asking: Vec<_> = (0..100).map(|_| fixture.ask()).collect();
    fixture.idle().await;
    fixture.store.behavior.send_replace(Behavior::Well);
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(fixture.store.looks(), looks + 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_asker_hung_up_is_answered_and_no_one_later_gets_its_answer() {
    let mut fixture = Fixture::new().await;
    fixture.store.behavior.send_replace(Behavior::Hangs);
    let looks = fixture.store.looks();
    let asked = fixture.ask();
    fixture.idle().await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    fixture.store.behavior.send_replace(Behavior::Away);
    let (health, after) = fixture.change().await;
    assert_eq!((health, fixture.store.looks()), (Health::Unreachable, looks + 1));
    assert!(after <= MIN_INTERVAL, "{after:?}");
    fixture.store.behavior.send_replace(Behavior::Well);
    fixture.keyring.status().await.unwrap();
    assert_eq!(fixture.store.looks(), looks + 2);
    assert_eq!(*fixture.health.borrow(), Health::Reachable);
}

#[tokio::test(start_paused = true)]
async fn the_probe_ends_while_a_store_hangs() {
    let fixture = Fixture::new().await;
    fixture.store.behavior.send_replace(Behavior::Hangs);
    let looks = fixture.store.looks();
    while fixture.store.looks() == looks {
        tokio::time::advance(EVERY).await;
    }
    let start = Instant::now();
    fixture.stop.cancel();
    fixture.probing.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}
