//! Load: connections times streams, closed or open loop.

use std::sync::Arc;
use std::time::Duration;

use kes_harness::{Dialer, Proto};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};

use crate::figure::real;
use crate::latency::Latencies;
use crate::wire::{Prepared, Wire};

/// The clock of timers is coarser than requests are long: the rest of a wait is waited out awake.
const AWAKE: Duration = Duration::from_millis(2);

/// How requests arrive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    /// Each stream sends its next request when it has its answer.
    Closed,
    /// So many a second over all streams, whether or not they are answered; latencies count from
    /// the moment at which a request was due.
    Open(u32),
}

/// Over what, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) proto: Proto,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) arrival: Arrival,
}

impl Shape {
    /// One request after the other.
    pub(crate) const SERIAL: Self = Self::h2(1, 1, Arrival::Closed);

    /// What a busy `MinIO` does: four connections with eight streams each.
    pub(crate) const BUSY: Self = Self::h2(4, 8, Arrival::Closed);

    /// As many clients without streams.
    pub(crate) const BUSY_H1: Self =
        Self { proto: Proto::H1, connections: 16, streams: 1, arrival: Arrival::Closed };

    const fn h2(connections: usize, streams: usize, arrival: Arrival) -> Self {
        Self { proto: Proto::H2, connections, streams, arrival }
    }

    /// The same at so many requests a second.
    pub(crate) const fn at(self, rate: u32) -> Self {
        Self { arrival: Arrival::Open(rate), ..self }
    }
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Elapsed(Duration),
    /// Requests of each stream.
    Sent(usize),
}

/// Open connections that can be put under load again and again.
pub(crate) struct Load {
    arrival: Arrival,
    streams: Vec<Stream>,
}

/// What a time under load gave.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) latencies: Latencies,
    pub(crate) failed: u64,
    pub(crate) length: Duration,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self { latencies: Latencies::new(), failed: 0, length: Duration::ZERO }
    }

    /// Adds what happened afterwards.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        self.failed += other.failed;
        self.length += other.length;
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        real(self.latencies.count()) / self.length.as_secs_f64()
    }

    /// Half as many requests a second, for an open loop.
    pub(crate) fn half_rate(&self) -> u32 {
        let millis = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX).max(1);
        u32::try_from(self.latencies.count() * 500 / millis).unwrap_or(u32::MAX).max(1)
    }
}

impl Load {
    /// Opens the connections. The streams begin at different requests.
    pub(crate) async fn open(dialer: &Dialer, shape: Shape, requests: Vec<Prepared>) -> Self {
        let mut wires = Vec::new();
        for _ in 0..shape.connections {
            let wire = Wire::open(dialer, shape.proto).await;
            wires.extend((1..shape.streams).map(|_| wire.share()));
            wires.push(wire);
        }
        let (requests, count): (Arc<[_]>, _) = (requests.into(), wires.len());
        let streams = wires.into_iter().enumerate().map(|(index, wire)| {
            let next = index * requests.len() / count;
            Stream { wire, requests: Arc::clone(&requests), next }
        });
        Self { arrival: shape.arrival, streams: streams.collect() }
    }

    /// Keeps all streams busy.
    pub(crate) async fn run(&mut self, until: Until) -> Tally {
        let begin = Instant::now();
        let count = u32::try_from(self.streams.len()).expect("streams are few");
        let gap = match self.arrival {
            Arrival::Closed => None,
            Arrival::Open(rate) => Some(Duration::from_secs(1) * count / rate),
        };
        let mut running = JoinSet::new();
        for (index, stream) in (0..count).zip(self.streams.drain(..)) {
            // Streams of an open loop are out of step, those of a closed one are not made so.
            let offset = gap.map(|gap| gap * index / count).unwrap_or_default();
            running.spawn(stream.run(begin + offset, begin, until, gap));
        }
        let mut tally = Tally::new();
        while let Some(done) = running.join_next().await {
            let (stream, part) = done.expect("a stream does not panic");
            self.streams.push(stream);
            tally.add(&part);
        }
        tally.length = begin.elapsed();
        tally
    }
}

struct Stream {
    wire: Wire,
    requests: Arc<[Prepared]>,
    next: usize,
}

impl Stream {
    async fn run(
        mut self,
        first: Instant,
        begin: Instant,
        until: Until,
        gap: Option<Duration>,
    ) -> (Self, Tally) {
        let (mut tally, mut due, mut sent) = (Tally::new(), first, 0);
        loop {
            match gap {
                Some(_) => wait(due).await,
                None => due = Instant::now(),
            }
            let is_over = match until {
                Until::Elapsed(length) => due >= begin + length,
                Until::Sent(count) => sent >= count,
            };
            if is_over {
                return (self, tally);
            }
            let request = &self.requests[self.next];
            self.next = (self.next + 1) % self.requests.len();
            let (status, _) = self.wire.send(request).await;
            tally.latencies.record(due.elapsed());
            tally.failed += u64::from(status != 200);
            sent += 1;
            due += gap.unwrap_or_default();
        }
    }
}

async fn wait(due: Instant) {
    if let Some(early) = due.checked_sub(AWAKE)
        && early > Instant::now()
    {
        sleep_until(early).await;
    }
    while Instant::now() < due {
        yield_now().await;
    }
}
