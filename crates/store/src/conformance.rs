//! Tests the contract of [`KeyStore`]: the conformance suite that every store passes.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use kes_types::{KeyName, Random, Secret};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::{KeyStore, ListQuery, Page, StoreError, VALUE_LEN_MAX};

/// Selects the values that a store accepts beyond UTF-8 text of 1 byte to 48 KiB.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The store also accepts values that are empty, binary, or as long as [`VALUE_LEN_MAX`], and
    /// refuses longer values.
    pub binary: bool,
}

/// Runs the suite on a store.
///
/// Other clients may share the backend: key names are derived from an id of this run, made with
/// `random`. Names of one character are not, so they are skipped if they exist. When the suite
/// succeeds, it has deleted all its keys.
///
/// # Panics
///
/// Panics on the first violation of the contract, and on a single-threaded runtime, where calls
/// would not run concurrently.
pub async fn run(store: Arc<dyn KeyStore>, profile: Profile, random: &dyn Random) {
    assert_eq!(
        Handle::current().runtime_flavor(),
        RuntimeFlavor::MultiThread,
        "the suite needs a multi-thread runtime"
    );
    let run = random.identifier::<8>().unwrap_or_else(|e| panic!("run id: {e}"));
    let suite = Suite { store, run: format!("r{run}") };
    suite.status().await;
    suite.absent_names().await;
    suite.values(profile).await;
    suite.names().await;
    suite.deletion().await;
    for round in 0..4 {
        suite.race_to_create(round).await;
    }
    suite.listings().await;
}

const RACERS: usize = 32;
const READERS: usize = 8;

struct Suite {
    store: Arc<dyn KeyStore>,
    /// A prefix for key names that no other run uses.
    run: String,
}

impl Suite {
    fn name(&self, tail: &str) -> KeyName {
        name(&format!("{}{tail}", self.run))
    }

    async fn status(&self) {
        self.store.status().await.unwrap_or_else(|e| panic!("status of a healthy store: {e:?}"));
    }

    async fn absent_names(&self) {
        let absent = self.name("-absent");
        self.must_be_absent(&absent).await;
        match self.store.delete(&absent).await {
            Err(StoreError::NotFound(name)) => assert_eq!(name, absent, "delete names another key"),
            other => panic!("delete of an absent name: {other:?}"),
        }
        self.must_be_absent(&absent).await;
    }

    async fn values(&self, profile: Profile) {
        let mut values = vec![
            b"x".to_vec(),
            b" \"quoted\" \\ \n\t<&>'{}${x} ".to_vec(),
            "Schlüssel 🔑 ключ\u{0301}".into(),
            text(4 << 10),
            text(48 << 10),
        ];
        if profile.binary {
            values.extend([vec![], (0..=255).collect(), vec![0; VALUE_LEN_MAX]]);
        }
        for (number, value) in values.into_iter().enumerate() {
            let name = self.name(&format!("-value-{number}"));
            self.create(&name, &value).await;
            self.must_be(&name, &value).await;
            self.must_exist(&name).await;
            self.must_be(&name, &value).await;
            self.delete(&name).await;
        }
        if profile.binary {
            let name = self.name("-too-long");
            match self.store.create(&name, vec![b'x'; VALUE_LEN_MAX + 1].into()).await {
                Err(StoreError::Refused(_)) => self.must_be_absent(&name).await,
                other => panic!("create of {} bytes: {other:?}", VALUE_LEN_MAX + 1),
            }
        }
    }

    async fn names(&self) {
        let upper = self.run.to_uppercase();
        let digits: String = self.run.bytes().map(|byte| char::from(b'0' + byte % 10)).collect();
        let longest = format!("{}{}", self.run, "9".repeat(80 - self.run.len()));
        let names = [
            self.run.clone(),
            upper,
            format!("_{}", self.run),
            format!("__{}_", self.run),
            format!("{}-a", self.run),
            format!("{}-A", self.run),
            format!("{}_a", self.run),
            digits,
            longest,
        ];
        let names = names.map(|text| name(&text));
        for name in &names {
            self.create(name, name.as_str().as_bytes()).await;
        }
        for name in &names {
            self.must_be(name, name.as_str().as_bytes()).await;
        }
        for name in &names {
            self.delete(name).await;
        }
        self.shortest_names().await;
    }

    /// Tests names of one character. They may belong to another client; existing ones are not
    /// changed.
    async fn shortest_names(&self) {
        for text in ["Q", "q", "7"] {
            let name = name(text);
            match self.store.create(&name, self.run.clone().into()).await {
                Ok(()) => {
                    self.must_be(&name, self.run.as_bytes()).await;
                    self.delete(&name).await;
                }
                Err(StoreError::Exists(_)) => {}
                other => panic!("create of `{name}`: {other:?}"),
            }
        }
    }

    async fn deletion(&self) {
        let name = self.name("-again");
        for value in ["first", "second"] {
            self.create(&name, value.as_bytes()).await;
            self.must_be(&name, value.as_bytes()).await;
            self.delete(&name).await;
            match self.store.delete(&name).await {
                Err(StoreError::NotFound(_)) => {}
                other => panic!("second delete of `{name}`: {other:?}"),
            }
        }
    }

    async fn race_to_create(&self, round: usize) {
        let name = self.name(&format!("-race-{round}"));
        let start = Arc::new(Barrier::new(RACERS + READERS));
        let mut racers = JoinSet::new();
        for racer in 0..RACERS {
            let (store, name, start) = (self.store.clone(), name.clone(), start.clone());
            racers.spawn(async move {
                start.wait().await;
                let value = racer_value(racer);
                match store.create(&name, value.clone().into()).await {
                    Ok(()) => {
                        must_be(&*store, &name, &value, "the winner's next read").await;
                        Some(value)
                    }
                    Err(StoreError::Exists(taken)) => {
                        assert_eq!(taken, name, "create names another key");
                        None
                    }
                    Err(other) => panic!("racer {racer}: {other:?}"),
                }
            });
        }
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let (store, name, start) = (self.store.clone(), name.clone(), start.clone());
            readers.spawn(async move {
                start.wait().await;
                loop {
                    match store.get(&name).await {
                        Ok(value) => break value.expose().to_vec(),
                        Err(StoreError::NotFound(_)) => tokio::task::yield_now().await,
                        Err(other) => panic!("read during a race: {other:?}"),
                    }
                }
            });
        }
        let winners: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
        let [winner] = winners.as_slice() else {
            panic!("{} of {RACERS} racing creators succeeded", winners.len());
        };
        for seen in readers.join_all().await {
            assert!(seen == *winner, "a value was read during the race that is not the winner's");
        }
        for _ in 0..READERS {
            self.must_be(&name, winner).await;
        }
        self.delete(&name).await;
    }

    async fn listings(&self) {
        let mut tails = ["", "-1", "-10", "-2", "-A", "-a", "-a-b", "-a-c", "A", "_", "z", "zz"]
            .map(String::from);
        let mut creations = JoinSet::new();
        for tail in &tails {
            let (store, name) = (self.store.clone(), self.name(tail));
            creations
                .spawn(async move { store.create(&name, Secret::new(b"listed".to_vec())).await });
        }
        for result in creations.join_all().await {
            result.unwrap_or_else(|e| panic!("create for a listing: {e:?}"));
        }
        tails.sort();
        for prefix in ["", "-", "-1", "-a", "-a-b", "z", "zz", "zzz", "-absent"] {
            let want: Vec<KeyName> = tails
                .iter()
                .filter(|tail| tail.starts_with(prefix))
                .map(|tail| self.name(tail))
                .collect();
            let prefix = format!("{}{prefix}", self.run);
            for limit in 1..=tails.len() + 1 {
                assert_eq!(self.pages(&prefix, limit).await, want, "prefix `{prefix}` by {limit}");
            }
        }
        self.starting_points(&tails).await;
        self.whole_listing(&tails).await;
        for tail in &tails {
            self.delete(&self.name(tail)).await;
        }
        assert_eq!(self.pages(&self.run, 3).await, [], "deleted keys are listed");
    }

    /// Tests that `from` is inclusive, need not exist, and may sort before or after the prefix.
    async fn starting_points(&self, tails: &[String]) {
        for from in ["", "-0", "-1", "-11", "-a-bb", "-b", "A", "zzz"] {
            let query = ListQuery {
                prefix: format!("{}-", self.run),
                from: Some(self.name(from)),
                limit: NonZeroUsize::MIN.saturating_add(99),
            };
            let want: Vec<KeyName> = tails
                .iter()
                .filter(|tail| tail.starts_with('-') && tail.as_str() >= from)
                .map(|tail| self.name(tail))
                .collect();
            let page = self.page(&query).await;
            assert_eq!(page.names, want, "listing from `{from}`");
            assert_eq!(page.next, None, "a last page names a next one");
        }
    }

    /// Lists everything. Other clients may use a shared backend, so only names of this run are
    /// compared.
    async fn whole_listing(&self, tails: &[String]) {
        let all = self.pages("", 1000).await;
        let ours: Vec<_> = all.iter().filter(|n| n.as_str().starts_with(&self.run)).collect();
        let want: Vec<_> = tails.iter().map(|tail| self.name(tail)).collect();
        assert!(ours.iter().copied().eq(&want), "the whole listing has {ours:?} of {want:?}");
    }

    /// Loads a listing page by page.
    async fn pages(&self, prefix: &str, limit: usize) -> Vec<KeyName> {
        let limit = NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MIN);
        let mut query = ListQuery { prefix: prefix.to_owned(), from: None, limit };
        let mut names: Vec<KeyName> = Vec::new();
        loop {
            let page = self.page(&query).await;
            names.extend(page.names);
            let Some(next) = page.next else { break };
            assert!(
                names.last().is_none_or(|last| *last < next) && query.from.as_ref() != Some(&next),
                "the next page starts at `{next}`, which is not after this one"
            );
            query.from = Some(next);
        }
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "a name is listed twice");
        assert!(names.is_sorted(), "names are not in byte order");
        names
    }

    async fn page(&self, query: &ListQuery) -> Page {
        let page = self.store.list(query).await.unwrap_or_else(|e| panic!("list {query:?}: {e:?}"));
        assert!(page.names.len() <= query.limit.get(), "more names than asked for");
        page
    }

    async fn create(&self, name: &KeyName, value: &[u8]) {
        self.store
            .create(name, value.to_vec().into())
            .await
            .unwrap_or_else(|e| panic!("create of `{name}`, {} bytes: {e:?}", value.len()));
    }

    async fn delete(&self, name: &KeyName) {
        self.store.delete(name).await.unwrap_or_else(|e| panic!("delete of `{name}`: {e:?}"));
        self.must_be_absent(name).await;
    }

    async fn must_exist(&self, name: &KeyName) {
        match self.store.create(name, Secret::new(b"an intruder's".to_vec())).await {
            Err(StoreError::Exists(taken)) => assert_eq!(taken, *name, "create names another key"),
            other => panic!("create of `{name}`, which exists: {other:?}"),
        }
    }

    async fn must_be(&self, name: &KeyName, value: &[u8]) {
        must_be(&*self.store, name, value, "a read").await;
    }

    async fn must_be_absent(&self, name: &KeyName) {
        match self.store.get(name).await {
            Err(StoreError::NotFound(missing)) => {
                assert_eq!(missing, *name, "get names another key");
            }
            other => panic!("get of `{name}`, which does not exist: {other:?}"),
        }
    }
}

async fn must_be(store: &dyn KeyStore, name: &KeyName, value: &[u8], what: &str) {
    match store.get(name).await {
        Ok(found) => assert!(
            found.expose() == value,
            "{what} of `{name}`: {} bytes that are not the {} given",
            found.expose().len(),
            value.len()
        ),
        Err(error) => panic!("{what} of `{name}`, which exists: {error:?}"),
    }
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap_or_else(|e| panic!("`{text}`: {e}"))
}

/// Generates printable text of `len` bytes. Its period of 251 differs from block sizes, so that
/// exchanged blocks are detected.
fn text(len: usize) -> Vec<u8> {
    (0_u8..=250).cycle().map(|n| b' ' + n % 95).take(len).collect()
}

/// Generates values of different lengths, long enough that a partial value can be detected.
fn racer_value(racer: usize) -> Vec<u8> {
    let mut value = format!("racer {racer} ").into_bytes();
    value.extend(text(1000 + 997 * racer));
    value
}
