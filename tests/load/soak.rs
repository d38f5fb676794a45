//! `load soak`: half load for a long time, and what the server holds meanwhile.

use std::fmt;
use std::time::Duration;

use kes_harness::{Dialer, Proto, Request, Server};
use tokio::time::{Instant, sleep, sleep_until};

use crate::load::{Load, Shape, Tally, Until};
use crate::operation::Operation;
use crate::output::say;
use crate::process::{Places, megabytes};
use crate::scene::Full;

/// How much resident memory may grow, in MB.
const GROWTH_MAX: f64 = 2.0;

/// Minutes after which a server holds all that it will hold.
const SETTLED: u32 = 5;

/// How long the rate is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// How long a server has to notice that a client has left.
const LEFT: Duration = Duration::from_millis(500);

/// A long run.
#[derive(Debug)]
pub(crate) struct Soak {
    pub(crate) minutes: u32,
}

/// Runs, and says whether memory and descriptors stay as they are.
pub(crate) async fn run(soak: &Soak) -> bool {
    let full = Full::start(Places::take()).await;
    let dialer = full.server.dial().show(&full.who);
    let requests = Operation::Decrypt.requests(&dialer, Proto::H2).await;
    let mut load = Load::open(&dialer, Shape::BUSY, requests.clone()).await;
    let rate = load.run(Until::Elapsed(LOOK)).await.half_rate();
    drop(load);
    let minutes = Duration::from_mins(soak.minutes.into());
    say(&format!("{} min, {rate} decrypts and one new connection a second", soak.minutes));

    let mut load = Load::open(&dialer, Shape::BUSY.at(rate), requests).await;
    // A look a minute, but ten at the least.
    let part = (minutes / 10).min(Duration::from_mins(1));
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < minutes {
        let together =
            async { tokio::join!(load.run(Until::Elapsed(part)), visits(&dialer, part)) };
        let (tally, ()) = together.await;
        sleep(LEFT).await;
        let sample = Sample::of(&full.server);
        say(&line(begin.elapsed(), &tally, &sample));
        samples.push(sample);
    }
    full.end().await;
    verdict(&samples, soak.minutes)
}

/// A client a second that comes, asks once and leaves.
async fn visits(dialer: &Dialer, length: Duration) {
    let begin = Instant::now();
    let mut due = begin;
    while due < begin + length {
        sleep_until(due).await;
        let mut connection = dialer.connect().await.expect("a connection");
        let answer = connection.send(Request::new("GET", "/v1/status")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        due += Duration::from_secs(1);
    }
}

/// What the server held at some moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    resident: f64,
    files: usize,
}

impl Sample {
    fn of(server: &Server) -> Self {
        let resident = megabytes(server.pid(), "VmRSS");
        Self { resident, files: server.figures().files }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} MB, {} descriptors", self.resident, self.files)
    }
}

fn line(elapsed: Duration, tally: &Tally, sample: &Sample) -> String {
    let Tally { latencies, failed, .. } = tally;
    format!(
        "{:7.1} min  {sample}, {} answers, {failed} failed, p50 {:.0} us, p99 {:.0} us",
        elapsed.as_secs_f64() / 60.0,
        latencies.count(),
        latencies.micros(0.5),
        latencies.micros(0.99),
    )
}

/// Compares the end with when the server had settled: minute 5, or the first tenth.
fn verdict(samples: &[Sample], minutes: u32) -> bool {
    let settled = usize::try_from(SETTLED.min(minutes / 10).max(1)).unwrap_or(1);
    let (Some(first), Some(last)) = (samples.get(settled - 1), samples.last()) else {
        say("nothing was measured");
        return false;
    };
    let growth = last.resident - first.resident;
    let is_flat = growth <= GROWTH_MAX && last.files <= first.files;
    let word = if is_flat { "yes" } else { "NO" };
    say(&format!("RSS flat within {GROWTH_MAX} MB, descriptors flat: {word} ({first} → {last})"));
    is_flat
}
