//! The legitimate client: few requests, all of which must succeed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use kes_harness::{Answer, Connection, Credential, Dialer, Request, Server, b64, measured};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

/// The longest that a request of a legitimate client may take: a client that waits longer gives up.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How often the steady client encrypts and decrypts, and how often it lists.
const STEADY: Duration = Duration::from_millis(50);
const LISTING: Duration = Duration::from_secs(1);

/// The longest time that can be recorded, in microseconds.
const MICROS_MAX: u64 = 600_000_000;

/// How long requests took.
#[derive(Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Latency {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_max(MICROS_MAX, 3).expect("three digits are few enough"))
    }

    pub(crate) fn record(&mut self, began: Instant) {
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(micros);
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1000.0;
        write!(
            f,
            "{} requests, p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            self.0.len(),
            ms(self.0.value_at_quantile(0.5)),
            ms(self.0.value_at_quantile(0.99)),
            ms(self.0.max())
        )
    }
}

/// Sends a request and gives its answer, with what it took.
///
/// # Panics
/// If there is none.
pub(crate) async fn ask(
    connection: &mut Connection,
    latency: &mut Latency,
    request: Request,
) -> Answer {
    let began = Instant::now();
    let answer = timeout(TIMEOUT, connection.try_send(request)).await;
    latency.record(began);
    let answer = answer.unwrap_or_else(|_| panic!("no answer within {TIMEOUT:?}"));
    answer.expect("an answer")
}

/// Encrypts so many bytes.
pub(crate) fn encryption(name: &str, bytes: usize) -> Request {
    let body = json!({ "plaintext": b64(vec![7; bytes]) }).to_string();
    Request::new("PUT", &format!("/v1/key/encrypt/{name}")).json(body)
}

/// Opens so many new connections, one after the other, with a request on each; each has two tries.
///
/// # Panics
/// If both tries of one fail.
pub(crate) async fn newcomers(dialer: &Dialer, count: usize, phase: &str) {
    let mut latency = Latency::new();
    let (mut second, mut failed) = (0, Vec::new());
    for _ in 0..count {
        let began = Instant::now();
        if connect_once(dialer).await.is_err() {
            second += 1;
            if let Err(why) = connect_once(dialer).await {
                failed.push(why);
            }
        }
        latency.record(began);
    }
    measured(&format!("new connections during {phase}: {latency}, {second} needed a second try"));
    assert!(failed.is_empty(), "{} of {count} during {phase}: {failed:?}", failed.len());
}

/// Connects and asks for the status.
async fn connect_once(dialer: &Dialer) -> Result<(), String> {
    let tried = async {
        let mut connection = dialer.connect().await.map_err(|error| error.to_string())?;
        let answer = connection.try_send(Request::new("GET", "/v1/status")).await;
        match answer.map_err(|error| error.to_string())?.status {
            200 => Ok(()),
            status => Err(format!("status {status}")),
        }
    };
    timeout(TIMEOUT, tried).await.unwrap_or_else(|_| Err(format!("nothing in {TIMEOUT:?}")))
}

/// A client as `MinIO` is one: a single h2 connection, on which it encrypts, decrypts and lists, one
/// request after the other, until it is stopped.
#[derive(Debug)]
pub(crate) struct Steady {
    stop: Arc<AtomicBool>,
    work: JoinSet<(Latency, Latency, Vec<String>)>,
}

impl Steady {
    /// Starts it, with a key that exists.
    pub(crate) async fn start(server: &Server, who: &Credential, name: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (is_stopped, name) = (Arc::clone(&stop), name.to_owned());
        let mut connection = server.connect(who).await;
        let mut work = JoinSet::new();
        work.spawn(async move {
            let (mut keys, mut lists, mut failed) = (Latency::new(), Latency::new(), Vec::new());
            let (mut ticks, mut listing) = (interval(STEADY), interval(LISTING));
            while !is_stopped.load(Ordering::Relaxed) {
                tokio::select! {
                    _ = ticks.tick() => {
                        let done = round(&mut connection, &mut keys, &name).await;
                        failed.extend(done.err());
                    }
                    _ = listing.tick() => {
                        let list = Request::new("GET", "/v1/key/list/my-k*");
                        let done = tried(&mut connection, &mut lists, list).await;
                        failed.extend(done.err());
                    }
                }
            }
            (keys, lists, failed)
        });
        Self { stop, work }
    }

    /// Stops it and asserts that everything succeeded.
    ///
    /// # Panics
    /// If not.
    pub(crate) async fn all_succeeded(mut self, phase: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let done = self.work.join_next().await.expect("one task");
        let (keys, lists, failed) = done.expect("it does not panic");
        measured(&format!("keys during {phase}: {keys}"));
        measured(&format!("lists during {phase}: {lists}"));
        assert!(failed.is_empty(), "{} requests failed during {phase}: {failed:?}", failed.len());
    }
}

/// Encrypts, and decrypts what came of it.
async fn round(
    connection: &mut Connection,
    latency: &mut Latency,
    name: &str,
) -> Result<(), String> {
    let sealed = tried(connection, latency, encryption(name, 32)).await?;
    let body = json!({ "ciphertext": sealed.text("ciphertext") }).to_string();
    let request = Request::new("PUT", &format!("/v1/key/decrypt/{name}")).json(body);
    let opened = tried(connection, latency, request).await?;
    if opened.text("plaintext") == b64([7; 32]) { Ok(()) } else { Err(format!("{opened:?}")) }
}

/// A request that has to be answered with 200.
async fn tried(
    connection: &mut Connection,
    latency: &mut Latency,
    request: Request,
) -> Result<Answer, String> {
    let began = Instant::now();
    let answer = timeout(TIMEOUT, connection.try_send(request)).await;
    latency.record(began);
    match answer {
        Ok(Ok(answer)) if answer.status == 200 => Ok(answer),
        Ok(Ok(answer)) => Err(format!("{}: {}", answer.status, answer.error())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
    }
}
