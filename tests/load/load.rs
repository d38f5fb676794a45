//! Generates load: requests over some connections with some streams each, in a closed or an open
//! loop.

use std::sync::Arc;
use std::time::Duration;

use kes_harness::{Dialer, Proto};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};

use crate::latency::Latencies;
use crate::number::float;
use crate::wire::{Prepared, Wire};

/// The last part of a wait is spent spinning, for timers are coarser than a request is long.
const SPIN: Duration = Duration::from_millis(2);

/// The arrival process: when requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    /// Closed loop: each stream sends its next request when the last one is answered.
    Closed,
    /// Open loop: this many requests a second over all streams, whether or not earlier ones are
    /// answered. A latency counts from the moment at which the request was due.
    Open(u32),
}

/// The shape of a load: protocol, connections, streams of each connection, and arrival process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) proto: Proto,
    pub(crate) connections: usize,
    pub(crate) streams: usize,
    pub(crate) arrival: Arrival,
}

impl Shape {
    /// One connection with one request at a time.
    pub(crate) const SERIAL: Self = Self::h2(1, 1, Arrival::Closed);

    /// The load of a busy `MinIO`: four connections with eight streams each.
    pub(crate) const BUSY: Self = Self::h2(4, 8, Arrival::Closed);

    /// 16 HTTP/1.1 connections with one request at a time each.
    pub(crate) const BUSY_H1: Self =
        Self { proto: Proto::H1, connections: 16, streams: 1, arrival: Arrival::Closed };

    const fn h2(connections: usize, streams: usize, arrival: Arrival) -> Self {
        Self { proto: Proto::H2, connections, streams, arrival }
    }

    /// The same connections and streams in an open loop of `rate` requests a second.
    pub(crate) const fn at(self, rate: u32) -> Self {
        Self { arrival: Arrival::Open(rate), ..self }
    }
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After this time.
    Elapsed(Duration),
    /// When each stream has sent this many requests.
    Sent(usize),
}

/// Open connections, over which load is generated repeatedly.
pub(crate) struct Load {
    arrival: Arrival,
    streams: Vec<Stream>,
}

/// The latencies and failures of a period of load.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    pub(crate) latencies: Latencies,
    pub(crate) failed: u64,
    pub(crate) length: Duration,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self { latencies: Latencies::new(), failed: 0, length: Duration::ZERO }
    }

    /// Adds a later period.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        self.failed += other.failed;
        self.length += other.length;
    }

    /// The rate in requests a second.
    pub(crate) fn rate(&self) -> f64 {
        float(self.latencies.count()) / self.length.as_secs_f64()
    }

    /// Half the rate in requests a second, for an open loop.
    pub(crate) fn half_rate(&self) -> u32 {
        let millis = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX).max(1);
        u32::try_from(self.latencies.count() * 500 / millis).unwrap_or(u32::MAX).max(1)
    }
}

impl Load {
    /// Opens the connections. Each stream starts at a different request.
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

    /// Generates load on all streams.
    pub(crate) async fn run(&mut self, until: Until) -> Counters {
        let begin = Instant::now();
        let count = u32::try_from(self.streams.len()).expect("there are fewer than 2^32 streams");
        let gap = match self.arrival {
            Arrival::Closed => None,
            Arrival::Open(rate) => Some(Duration::from_secs(1) * count / rate),
        };
        let mut running = JoinSet::new();
        for (index, stream) in (0..count).zip(self.streams.drain(..)) {
            // In an open loop the streams start at different times, spread over one interval.
            let offset = gap.map(|gap| gap * index / count).unwrap_or_default();
            running.spawn(stream.run(begin + offset, begin, until, gap));
        }
        let mut counters = Counters::new();
        while let Some(done) = running.join_next().await {
            let (stream, part) = done.expect("a stream does not panic");
            self.streams.push(stream);
            counters.add(&part);
        }
        counters.length = begin.elapsed();
        counters
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
    ) -> (Self, Counters) {
        let (mut counters, mut due, mut sent) = (Counters::new(), first, 0);
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
                return (self, counters);
            }
            let request = &self.requests[self.next];
            self.next = (self.next + 1) % self.requests.len();
            let (status, _) = self.wire.send(request).await;
            counters.latencies.record(due.elapsed());
            counters.failed += u64::from(status != 200);
            sent += 1;
            due += gap.unwrap_or_default();
        }
    }
}

async fn wait(due: Instant) {
    if let Some(early) = due.checked_sub(SPIN)
        && early > Instant::now()
    {
        sleep_until(early).await;
    }
    while Instant::now() < due {
        yield_now().await;
    }
}
