//! `load soak`: runs half load for a long time and fails if memory or descriptors grow.

use std::fmt;
use std::time::Duration;

use kes_harness::{Dialer, Proto, Request, Server};
use tokio::time::{Instant, sleep, sleep_until};

use crate::load::{Counters, Load, Shape, Until};
use crate::operation::Operation;
use crate::output::print_result;
use crate::process::{Pinning, megabytes};
use crate::scenario::FullScenario;

/// Permitted growth of resident memory, in MB.
const GROWTH_MAX: f64 = 2.0;

/// Minutes of warm-up, after which memory should not grow.
const SETTLED: u32 = 5;

/// Time in which the rate of a closed loop is measured.
const RATE_SAMPLE: Duration = Duration::from_secs(5);

/// Time that a server has to release a connection that the client has closed.
const CLOSE_DELAY: Duration = Duration::from_millis(500);

/// The options of `load soak`.
#[derive(Debug)]
pub(crate) struct Soak {
    pub(crate) minutes: u32,
}

/// Runs the load; returns whether memory and descriptors stayed as they were.
pub(crate) async fn run(soak: &Soak) -> bool {
    let full = FullScenario::start(Pinning::take()).await;
    let dialer = full.server.dial().show(&full.credential);
    let requests = Operation::Decrypt.requests(&dialer, Proto::H2).await;
    let mut load = Load::open(&dialer, Shape::BUSY, requests.clone()).await;
    let rate = load.run(Until::Elapsed(RATE_SAMPLE)).await.half_rate();
    drop(load);
    let minutes = Duration::from_mins(soak.minutes.into());
    print_result(&format!("{} min, {rate} decrypts and one new connection a second", soak.minutes));

    let mut load = Load::open(&dialer, Shape::BUSY.at(rate), requests).await;
    // One sample a minute, at least ten.
    let part = (minutes / 10).min(Duration::from_mins(1));
    let begin = Instant::now();
    let mut samples = Vec::new();
    while begin.elapsed() < minutes {
        let in_one_task =
            async { tokio::join!(load.run(Until::Elapsed(part)), new_connections(&dialer, part)) };
        let (counters, ()) = in_one_task.await;
        sleep(CLOSE_DELAY).await;
        let sample = Sample::of(&full.server);
        print_result(&line(begin.elapsed(), &counters, &sample));
        samples.push(sample);
    }
    full.end().await;
    verdict(&samples, soak.minutes)
}

/// Opens a connection a second, sends one request over it and closes it.
async fn new_connections(dialer: &Dialer, length: Duration) {
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

/// Resident memory and open descriptors of the server at one moment.
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

fn line(elapsed: Duration, counters: &Counters, sample: &Sample) -> String {
    let Counters { latencies, failed, .. } = counters;
    format!(
        "{:7.1} min  {sample}, {} answers, {failed} failed, p50 {:.0} us, p99 {:.0} us",
        elapsed.as_secs_f64() / 60.0,
        latencies.count(),
        latencies.micros(0.5),
        latencies.micros(0.99),
    )
}

/// Compares the last sample with the one after the warm-up: that of minute 5, or of the first
/// tenth.
fn verdict(samples: &[Sample], minutes: u32) -> bool {
    let settled = usize::try_from(SETTLED.min(minutes / 10).max(1)).unwrap_or(1);
    let (Some(first), Some(last)) = (samples.get(settled - 1), samples.last()) else {
        print_result("nothing was measured");
        return false;
    };
    let growth = last.resident - first.resident;
    let is_flat = growth <= GROWTH_MAX && last.files <= first.files;
    let word = if is_flat { "yes" } else { "NO" };
    print_result(&format!(
        "RSS flat within {GROWTH_MAX} MB, descriptors flat: {word} ({first} → {last})"
    ));
    is_flat
}
