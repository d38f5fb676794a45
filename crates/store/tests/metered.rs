//! Tests that the metered store forwards every call unchanged and reports every call.

#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::future::{Future as _, pending};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use kes_store::conformance::{self, Profile};
use kes_store::{
    CallKind, CallOutcome, KeyStore, ListQuery, MemoryStore, Metered, Observer, Page, StoreError,
};
use kes_types::{Clock, KeyName, Secret, SystemClock};

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<(CallKind, CallOutcome, Duration)>>);

impl Notes {
    fn take(&self) -> Vec<(CallKind, CallOutcome, Duration)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Observer for Notes {
    fn observed(&self, operation: CallKind, outcome: CallOutcome, elapsed: Duration) {
        self.0.lock().unwrap().push((operation, outcome, elapsed));
    }
}

/// A clock that advances by one second each time it is read.
#[derive(Debug)]
struct Ticking(Mutex<Instant>);

impl Ticking {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(SystemClock.monotonic())))
    }
}

impl Clock for Ticking {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn monotonic(&self) -> Instant {
        let mut now = self.0.lock().unwrap();
        *now += Duration::from_secs(1);
        *now
    }
}

/// Refuses a call, fails as unreachable, or never completes.
#[derive(Clone, Copy, Debug)]
enum Broken {
    Refusing,
    Unreachable,
    Silent,
}

impl Broken {
    async fn answer<T>(self) -> Result<T, StoreError> {
        match self {
            Self::Refusing => Err(StoreError::Refused("no".into())),
            Self::Unreachable => Err(StoreError::Unreachable("gone".into())),
            Self::Silent => pending().await,
        }
    }
}

#[async_trait]
impl KeyStore for Broken {
    async fn status(&self) -> Result<Duration, StoreError> {
        self.answer().await
    }
    async fn create(&self, _: &KeyName, _: Secret) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn get(&self, _: &KeyName) -> Result<Secret, StoreError> {
        self.answer().await
    }
    async fn delete(&self, _: &KeyName) -> Result<(), StoreError> {
        self.answer().await
    }
    async fn list(&self, _: &ListQuery) -> Result<Page, StoreError> {
        self.answer().await
    }
}

fn metered(inner: impl KeyStore) -> (Metered, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    (Metered::new(Arc::new(inner), notes.clone(), Ticking::new()), notes)
}

fn key() -> KeyName {
    KeyName::parse("my-key").unwrap()
}

fn everything() -> ListQuery {
    ListQuery { prefix: String::new(), from: None, limit: NonZeroUsize::MIN }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn metered_store_keeps_the_contract() {
    let (store, notes) = metered(MemoryStore::new());
    conformance::run(Arc::new(store), Profile { binary: true }, &kes_crypto::SystemRandom::new())
        .await;
    assert!(!notes.take().is_empty());
}

#[tokio::test]
async fn every_call_is_forwarded_and_reported_once() {
    let (store, notes) = metered(MemoryStore::new());
    let second = Duration::from_secs(1);

    assert_eq!(store.status().await.unwrap(), Duration::ZERO);
    assert_eq!(notes.take(), [(CallKind::Status, CallOutcome::Ok, second)]);

    store.create(&key(), b"value".to_vec().into()).await.unwrap();
    assert_eq!(notes.take(), [(CallKind::Create, CallOutcome::Ok, second)]);
    store.create(&key(), b"other".to_vec().into()).await.unwrap_err();
    assert_eq!(notes.take(), [(CallKind::Create, CallOutcome::Exists, second)]);

    assert_eq!(store.get(&key()).await.unwrap().expose(), b"value");
    assert_eq!(notes.take(), [(CallKind::Get, CallOutcome::Ok, second)]);

    assert_eq!(store.list(&everything()).await.unwrap().names, [key()]);
    assert_eq!(notes.take(), [(CallKind::List, CallOutcome::Ok, second)]);

    store.delete(&key()).await.unwrap();
    assert_eq!(notes.take(), [(CallKind::Delete, CallOutcome::Ok, second)]);
    store.delete(&key()).await.unwrap_err();
    assert_eq!(notes.take(), [(CallKind::Delete, CallOutcome::NotFound, second)]);
    store.get(&key()).await.unwrap_err();
    assert_eq!(notes.take(), [(CallKind::Get, CallOutcome::NotFound, second)]);
}

#[tokio::test]
async fn refusals_and_silence_are_reported_apart() {
    for (broken, want) in
        [(Broken::Refusing, CallOutcome::Refused), (Broken::Unreachable, CallOutcome::Unreachable)]
    {
        let (store, notes) = metered(broken);
        store.status().await.unwrap_err();
        store.create(&key(), Secret::default()).await.unwrap_err();
        store.get(&key()).await.unwrap_err();
        store.delete(&key()).await.unwrap_err();
        store.list(&everything()).await.unwrap_err();
        let seen: Vec<_> = notes.take().into_iter().map(|(op, outcome, _)| (op, outcome)).collect();
        let operations =
            [CallKind::Status, CallKind::Create, CallKind::Get, CallKind::Delete, CallKind::List];
        assert_eq!(seen, operations.map(|operation| (operation, want)));
    }
}

#[test]
fn an_abandoned_call_is_reported() {
    let (store, notes) = metered(Broken::Silent);
    {
        let key = key();
        let mut call = pin!(store.get(&key));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(notes.take().is_empty());
    }
    assert_eq!(notes.take(), [(CallKind::Get, CallOutcome::Unreachable, Duration::from_secs(1))]);
}
