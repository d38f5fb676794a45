//! Clients of a soak, which check every answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kes_harness::{Answer, Connection, Credential, Dialer, Request, b64, unb64};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::chaos::Dice;
use crate::counters::Counters;

/// A data key that was made, and what it has to open to.
#[derive(Clone, Debug)]
struct Made {
    ciphertext: String,
    plaintext: Vec<u8>,
}

/// What the clients know: keys whose creation was answered 200, with some of what they sealed, and
/// names whose creation was answered with an error.
#[derive(Debug, Default)]
pub(crate) struct Known {
    keys: Mutex<BTreeMap<String, Vec<Made>>>,
    doubtful: Mutex<Vec<String>>,
}

/// Data keys kept for each key.
const MADE_MAX: usize = 8;

impl Known {
    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.keys).keys().cloned().collect()
    }

    pub(crate) fn doubtful(&self) -> Vec<String> {
        lock(&self.doubtful).clone()
    }
}

/// A client of one server.
pub(crate) struct Client {
    number: u64,
    dialer: Dialer,
    connection: Option<Connection>,
    known: Arc<Known>,
    counters: Arc<Counters>,
    dice: Dice,
    created: u64,
}

impl Client {
    pub(crate) fn new(
        number: u64,
        dialer: Dialer,
        credential: &Credential,
        known: Arc<Known>,
        counters: Arc<Counters>,
        seed: u64,
    ) -> Self {
        let dice = Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number + 1));
        let dialer = dialer.show(credential);
        Self { number, dialer, connection: None, known, counters, dice, created: 0 }
    }

    /// One operation of any kind.
    pub(crate) async fn step(&mut self) {
        let names = self.known.names();
        let index = self.dice.below(names.len().max(1) as u64);
        let name = usize::try_from(index).ok().and_then(|index| names.get(index)).cloned();
        match (self.dice.below(10), name) {
            (0, _) | (_, None) => self.create().await,
            (1, Some(name)) => self.create_again(&name).await,
            (2, Some(name)) => self.describe(&name).await,
            (3, _) => self.describe_missing().await,
            (4, _) => self.list(&names).await,
            (5..=6, Some(name)) => self.generate(&name).await,
            (_, Some(name)) => self.decrypt(&name).await,
        }
    }

    async fn create(&mut self) {
        let name = format!("my-{}-{}", self.number, self.created);
        self.created += 1;
        let answer = self.ask("create", "PUT", &format!("/v1/key/create/{name}"), None).await;
        match answer.map(|answer| answer.status) {
            Some(200) => drop(lock(&self.known.keys).insert(name, Vec::new())),
            Some(502..=504) | None => lock(&self.known.doubtful).push(name),
            Some(status) => self.counters.wrong(format!("create of a new name: {status}")),
        }
    }

    async fn create_again(&mut self, name: &str) {
        let path = format!("/v1/key/create/{name}");
        let Some(answer) = self.ask("create again", "PUT", &path, None).await else { return };
        if answer.status != 400 && !is_outage(&answer) {
            self.counters.wrong(format!("create of {name}, which exists: {answer:?}"));
        }
    }

    pub(crate) async fn describe(&mut self, name: &str) {
        let path = format!("/v1/key/describe/{name}");
        let Some(answer) = self.ask("describe", "GET", &path, None).await else { return };
        if answer.status != 200 && !is_outage(&answer) {
            self.counters.wrong(format!("describe of {name}, which exists: {answer:?}"));
        }
    }

    async fn describe_missing(&mut self) {
        let path = "/v1/key/describe/my-missing";
        let Some(answer) = self.ask("not there", "GET", path, None).await else { return };
        if answer.status != 404 && !is_outage(&answer) {
            self.counters.wrong(format!("describe of a key that was never there: {answer:?}"));
        }
    }

    async fn list(&mut self, known_before: &[String]) {
        let Some(answer) = self.ask("list", "GET", "/v1/key/list/my-*", None).await else { return };
        if is_outage(&answer) {
            return;
        }
        let json = answer.json();
        let listed: Vec<&str> =
            json["names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for name in known_before {
            if answer.status != 200 || !listed.contains(&name.as_str()) {
                self.counters.wrong(format!("list without {name}: {}", answer.status));
            }
        }
    }

    async fn generate(&mut self, name: &str) {
        let path = format!("/v1/key/generate/{name}");
        let body = json!({ "context": b64(name) }).to_string();
        let Some(answer) = self.ask("generate", "PUT", &path, Some(body)).await else { return };
        if answer.status == 200 {
            let made = Made {
                ciphertext: answer.text("ciphertext"),
                plaintext: unb64(&answer.text("plaintext")),
            };
            if let Some(all) = lock(&self.known.keys).get_mut(name)
                && all.len() < MADE_MAX
            {
                all.push(made);
            }
        } else if !is_outage(&answer) {
            self.counters.wrong(format!("generate with {name}: {answer:?}"));
        }
    }

    async fn decrypt(&mut self, name: &str) {
        let made = lock(&self.known.keys).get(name).cloned().unwrap_or_default();
        let index = self.dice.below(made.len().max(1) as u64);
        let Some(made) = usize::try_from(index).ok().and_then(|index| made.get(index)) else {
            return self.generate(name).await;
        };
        self.open(name, made).await;
    }

    /// Opens everything that a key is known to have sealed.
    pub(crate) async fn open_all(&mut self, name: &str) {
        let made = lock(&self.known.keys).get(name).cloned().unwrap_or_default();
        for made in made {
            self.open(name, &made).await;
        }
    }

    async fn open(&mut self, name: &str, made: &Made) {
        let path = format!("/v1/key/decrypt/{name}");
        let body = json!({ "ciphertext": made.ciphertext, "context": b64(name) }).to_string();
        let Some(answer) = self.ask("decrypt", "PUT", &path, Some(body)).await else { return };
        let is_right = answer.status == 200 && unb64(&answer.text("plaintext")) == made.plaintext;
        if !is_right && !is_outage(&answer) {
            self.counters.wrong(format!("decrypt with {name}: {answer:?}"));
        }
    }

    /// Any answer; none is a fault of its own, for our server never goes away.
    pub(crate) async fn ask(
        &mut self,
        operation: &'static str,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Option<Answer> {
        let start = Instant::now();
        if self.connection.is_none() {
            self.connection = self.dialer.connect().await.ok();
        }
        let mut request = Request::new(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = match &mut self.connection {
            Some(connection) => connection.try_send(request).await.ok(),
            None => None,
        };
        if let Some(answer) = &answer {
            self.counters.answered(operation, answer.status, start.elapsed());
        } else {
            self.connection = None;
            self.counters.wrong(format!("{operation}: no answer after {:?}", start.elapsed()));
        }
        answer
    }
}

/// Whether the answer says that something is wrong with the store, which it may.
fn is_outage(answer: &Answer) -> bool {
    (502..=504).contains(&answer.status)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
