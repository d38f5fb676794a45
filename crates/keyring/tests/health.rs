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
const PACE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(12);

/// How the store is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Away,
    Hangs,
    /// Its health is fine, and whatever else it is asked hangs.
    HangsInCalls,
    Refuses,
}

/// A store without keys.
#[derive(Debug)]
struct Moody {
    mood: watch::Sender<Mood>,
    looks: AtomicUsize,
}

impl Moody {
    async fn answer(&self, hangs: &[Mood]) -> Result<(), StoreError> {
        let mut mood = self.mood.subscribe();
        let mood = *mood.wait_for(|mood| !hangs.contains(mood)).await.unwrap();
        match mood {
            Mood::Away => Err(StoreError::Unreachable("away".into())),
            Mood::Refuses => Err(StoreError::Refused("no".into())),
            Mood::Well | Mood::Hangs | Mood::HangsInCalls => Ok(()),
        }
    }

    async fn call(&self) -> Result<(), StoreError> {
        self.answer(&[Mood::Hangs, Mood::HangsInCalls]).await
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KeyStore for Moody {
    async fn status(&self) -> Result<Duration, StoreError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.answer(&[Mood::Hangs]).await.map(|()| Duration::ZERO)
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

struct Scene {
    store: Arc<Moody>,
    keyring: Arc<Keyring>,
    stop: CancellationToken,
    probing: JoinHandle<()>,
    health: watch::Receiver<Health>,
}

impl Scene {
    /// A keyring whose probe has looked once.
    async fn new() -> Self {
        let store =
            Arc::new(Moody { mood: watch::Sender::new(Mood::Well), looks: AtomicUsize::new(0) });
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

fn keyring(store: &Arc<Moody>) -> Arc<Keyring> {
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
async fn a_store_that_nobody_calls_is_looked_at_regularly() {
    let mut scene = Scene::new().await;
    scene.store.mood.send_replace(Mood::Away);
    let (health, after) = scene.change().await;
    assert_eq!(health, Health::Unreachable);
    assert!(after.abs_diff(EVERY) < PACE, "{after:?}");
    scene.store.mood.send_replace(Mood::Refuses);
    let (health, after) = scene.change().await;
    assert_eq!(health, Health::Refused);
    assert!(after.abs_diff(EVERY) < PACE, "{after:?}");
    assert_eq!(scene.store.looks(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_makes_the_store_be_looked_at_at_once_but_never_all_the_time() {
    let mut scene = Scene::new().await;
    scene.store.mood.send_replace(Mood::Away);
    scene.fails().await;
    let (health, after) = scene.change().await;
    assert_eq!(health, Health::Unreachable);
    assert!(after <= PACE, "{after:?}");
    // However many fail: the next look is as far away, and they cost no other.
    let looks = scene.store.looks();
    for _ in 0..1000 {
        scene.fails().await;
    }
    scene.store.mood.send_replace(Mood::Well);
    let (health, after) = scene.change().await;
    assert_eq!(health, Health::Reachable);
    assert!(after <= PACE, "{after:?}");
    assert_eq!(scene.store.looks(), looks + 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_or_a_missing_key_is_no_reason_to_look() {
    let mut scene = Scene::new().await;
    let name = KeyName::parse("my-key").unwrap();
    assert!(scene.keyring.get(&permit(), &name).await.unwrap_err().is_not_found());
    scene.store.mood.send_replace(Mood::Refuses);
    scene.fails().await;
    let (health, after) = scene.change().await;
    assert_eq!(health, Health::Refused);
    assert!(after > PACE, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_given_up_in_time_and_looked_at_again() {
    let mut scene = Scene::new().await;
    scene.store.mood.send_replace(Mood::Hangs);
    let start = Instant::now();
    scene.fails().await;
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
    let (health, _) = scene.change().await;
    assert_eq!(health, Health::Unreachable);
    scene.store.mood.send_replace(Mood::Well);
    assert_eq!(scene.change().await.0, Health::Reachable);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_makes_the_store_be_looked_at_too() {
    let scene = Scene::new().await;
    scene.store.mood.send_replace(Mood::HangsInCalls);
    // The call is given up between the second and the third of the regular looks.
    assert!(EVERY + PACE < PATIENCE && PATIENCE < EVERY * 2);
    scene.fails().await;
    scene.idle().await;
    assert_eq!(scene.store.looks(), 3);
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_for_the_status_at_once_share_a_question() {
    let scene = Scene::new().await;
    scene.store.mood.send_replace(Mood::Hangs);
    let looks = scene.store.looks();
    let asking: Vec<_> = (0..100).map(|_| scene.ask()).collect();
    scene.idle().await;
    scene.store.mood.send_replace(Mood::Well);
    for asked in asking {
        asked.await.unwrap().unwrap();
    }
    assert_eq!(scene.store.looks(), looks + 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_whose_asker_hung_up_is_answered_and_nobody_later_gets_its_answer() {
    let mut scene = Scene::new().await;
    scene.store.mood.send_replace(Mood::Hangs);
    let looks = scene.store.looks();
    let asked = scene.ask();
    scene.idle().await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    scene.store.mood.send_replace(Mood::Away);
    let (health, after) = scene.change().await;
    assert_eq!((health, scene.store.looks()), (Health::Unreachable, looks + 1));
    assert!(after <= PACE, "{after:?}");
    scene.store.mood.send_replace(Mood::Well);
    scene.keyring.status().await.unwrap();
    assert_eq!(scene.store.looks(), looks + 2);
    assert_eq!(*scene.health.borrow(), Health::Reachable);
}

#[tokio::test(start_paused = true)]
async fn the_probe_ends_while_a_store_hangs() {
    let scene = Scene::new().await;
    scene.store.mood.send_replace(Mood::Hangs);
    let looks = scene.store.looks();
    while scene.store.looks() == looks {
        tokio::time::advance(EVERY).await;
    }
    let start = Instant::now();
    scene.stop.cancel();
    scene.probing.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}
