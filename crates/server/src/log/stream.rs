//! Sends log events to the subscribers of the log streams.
//!
//! Publishing never waits: a subscriber that is too slow loses events, and receives their number.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures_util::stream;
use kes_config::Limits;
use kes_types::wire::ErrorEvent;
use kes_types::{Identity, escape, lock};

use crate::http::error::ApiError;
use crate::http::response::ApiResult;
use crate::http::response::ResponseBody;
use crate::log::line_buffer::{BatchReader, LineBuffer};
use crate::state::shutdown::Stop;

/// The longest buffer of lines for one subscriber, in bytes; further events are lost.
const SUBSCRIBER_LEN_MAX: usize = 512 << 10;

/// Encodes an event as a line of a stream.
pub(crate) trait LogLine {
    /// Returns one JSON object of printable characters, without a line feed. `lost` is the number of lost events
    /// before it.
    fn line(&self, lost: u64) -> Vec<u8>;

    /// Returns a line that only reports lost events.
    fn gap(lost: u64) -> Vec<u8>;
}

impl LogLine for ErrorEvent {
    fn line(&self, lost: u64) -> Vec<u8> {
        escape::json(&Self { lost, ..self.clone() }).unwrap_or_default()
    }

    fn gap(lost: u64) -> Vec<u8> {
        let message = "events were lost: this subscriber is too slow".to_owned();
        Self { message, lost }.line(lost)
    }
}

/// Limits the streams of both logs, in total and for each identity.
#[derive(Debug)]
pub(crate) struct StreamLimits {
    streams_max: usize,
    per_identity_max: usize,
    streams: Mutex<HashMap<Option<Identity>, usize>>,
}

impl StreamLimits {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (streams_max, per_identity_max) = (limits.log_streams, limits.log_streams_per_identity);
        Self { streams_max, per_identity_max, streams: Mutex::default() }
    }

    fn acquire(self: &Arc<Self>, identity: Option<Identity>) -> Result<StreamSlot, ApiError> {
        let mut streams = lock(&self.streams);
        let total: usize = streams.values().sum();
        let own = streams.entry(identity).or_default();
        if *own >= self.per_identity_max || total >= self.streams_max {
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many log streams"));
        }
        *own += 1;
        Ok(StreamSlot { limits: Arc::clone(self), identity })
    }
}

/// Holds the slot of a stream, and releases it when dropped.
#[derive(Debug)]
struct StreamSlot {
    limits: Arc<StreamLimits>,
    identity: Option<Identity>,
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut streams = lock(&self.limits.streams);
        if let Some(own) = streams.get_mut(&self.identity) {
            *own -= 1;
            if *own == 0 {
                streams.remove(&self.identity);
            }
        }
    }
}

/// Publishes the events of a log to its subscribers, without waiting.
#[derive(Debug, Default)]
pub(crate) struct Broadcast {
    /// The subscribers; the list is replaced as a whole, so that reading it needs no lock.
    subscribers: ArcSwap<Vec<Arc<Subscriber>>>,
    events: AtomicU64,
}

#[derive(Debug)]
struct Subscriber {
    lines: LineBuffer,
    /// The request that opened the stream; its own event is not sent to it.
    opened_by: u64,
}

impl Broadcast {
    /// Counts an event; returns whether the log has subscribers.
    pub(crate) fn count(&self) -> bool {
        self.events.fetch_add(1, Ordering::Relaxed);
        !self.subscribers.load().is_empty()
    }

    /// Returns how many events were counted.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Sends an event to every subscriber except the one that `request` opened. A subscriber whose buffer is
    /// full loses it.
    pub(crate) fn publish(&self, event: &impl LogLine, request: Option<u64>) {
        let subscribers = self.subscribers.load();
        if subscribers.is_empty() {
            return;
        }
        let line = ended(event.line(0));
        for subscriber in subscribers.iter() {
            if Some(subscriber.opened_by) != request {
                subscriber.lines.push(&line, |lost| ended(event.line(lost)));
            }
        }
    }

    /// Returns an endless response to `request` with a line for each event from now on. It ends when shutdown
    /// begins.
    pub(crate) fn follow<E: LogLine>(
        self: &Arc<Self>,
        limits: &Arc<StreamLimits>,
        identity: Option<Identity>,
        request: u64,
        stop: &Stop,
    ) -> ApiResult {
        let slot = limits.acquire(identity)?;
        let subscriber =
            Arc::new(Subscriber { lines: LineBuffer::new(SUBSCRIBER_LEN_MAX), opened_by: request });
        self.replace(|subscribers| subscribers.push(Arc::clone(&subscriber)));
        let subscription = Subscription {
            broadcast: Arc::clone(self),
            subscriber,
            reader: BatchReader::default(),
            stop: stop.clone(),
            gap: E::gap,
            _slot: slot,
        };
        let lines = stream::unfold(subscription, |mut subscription| async move {
            let lines = subscription.next_lines().await?;
            Some((Ok::<_, Infallible>(lines), subscription))
        });
        let mut response = Response::new(ResponseBody::Right(Body::from_stream(lines)));
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
        Ok(response)
    }

    fn replace(&self, change: impl Fn(&mut Vec<Arc<Subscriber>>)) {
        self.subscribers.rcu(|subscribers| {
            let mut subscribers = Vec::clone(subscribers);
            change(&mut subscribers);
            subscribers
        });
    }
}

fn ended(mut line: Vec<u8>) -> Vec<u8> {
    line.push(b'\n');
    line
}

/// Reads the lines of a subscriber, and removes the subscriber when dropped.
struct Subscription {
    broadcast: Arc<Broadcast>,
    subscriber: Arc<Subscriber>,
    reader: BatchReader,
    stop: Stop,
    gap: fn(u64) -> Vec<u8>,
    _slot: StreamSlot,
}

impl Subscription {
    async fn next_lines(&mut self) -> Option<Bytes> {
        let next = self.reader.next_batch(&self.subscriber.lines);
        let batch = self.stop.soft().run_until_cancelled(next).await.flatten()?;
        if self.stop.is_draining() {
            return None;
        }
        let lines = if batch.lost > 0 { ended((self.gap)(batch.lost)) } else { batch.lines };
        Some(lines.into())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.broadcast.replace(|subscribers| {
            subscribers.retain(|subscriber| !Arc::ptr_eq(subscriber, &self.subscriber));
        });
    }
}

/// Publishes the error log at `/v1/log/error`. Its events come from the log subscriber of the process.
#[derive(Clone, Debug, Default)]
pub struct ErrorLog(pub(crate) Arc<Broadcast>);

impl ErrorLog {
    /// Creates a log without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes an error; `message` is only called if the log has subscribers.
    pub fn publish(&self, message: impl FnOnce() -> String) {
        if self.0.count() {
            self.0.publish(&ErrorEvent { message: message(), lost: 0 }, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn event(message: &str) -> ErrorEvent {
        ErrorEvent { message: message.to_owned(), lost: 0 }
    }

    fn stream_limits() -> Arc<StreamLimits> {
        Arc::new(StreamLimits::new(&Limits::default()))
    }

    /// Returns the events of the next frame.
    async fn next(body: &mut ResponseBody) -> Option<Vec<ErrorEvent>> {
        let ResponseBody::Right(body) = body else { return None };
        let frame = body.frame().await?.unwrap().into_data().unwrap();
        let lines = frame.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Some(lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_subscriber_loses_events_and_receives_their_number() {
        let broadcast = Arc::new(Broadcast::default());
        let follow = broadcast.follow::<ErrorEvent>(&stream_limits(), None, 1, &Stop::new());
        let mut body = follow.unwrap().into_body();
        let long = "x".repeat(1000);
        for _ in 0..1000 {
            assert!(broadcast.count());
            broadcast.publish(&event("of itself"), Some(1));
            broadcast.publish(&event(&long), Some(2));
        }
        let first = next(&mut body).await.unwrap();
        assert!(first.iter().all(|event| event.message == long && event.lost == 0));
        broadcast.publish(&event("after"), None);
        let lost = 1000 - first.len() as u64;
        assert!(lost > 0);
        let after = ErrorEvent { message: "after".into(), lost };
        assert_eq!(next(&mut body).await, Some(vec![after]));

        for _ in 0..1000 {
            broadcast.publish(&event(&long), None);
        }
        assert_eq!(next(&mut body).await.unwrap().len(), first.len());
        let gap = next(&mut body).await.unwrap();
        assert_eq!((gap.len(), gap[0].lost), (1, lost));

        drop(body);
        assert!(!broadcast.count());
    }

    #[tokio::test]
    async fn streams_are_limited_per_identity_and_in_total_and_end_at_shutdown() {
        let (broadcast, limits, stop) =
            (Arc::new(Broadcast::default()), stream_limits(), Stop::new());
        let follow = |identity| broadcast.follow::<ErrorEvent>(&limits, identity, 1, &stop);
        let identity = |seed: u8| Some(Identity::of_public_key(&[seed]));
        let mut open = Vec::new();
        for seed in 0..4 {
            for _ in 0..limits.per_identity_max {
                open.push(follow(identity(seed)).unwrap());
            }
            let refused = follow(identity(seed)).unwrap_err();
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        }
        assert!(follow(identity(9)).is_err());
        open.pop();
        let mut body = follow(identity(9)).unwrap().into_body();
        stop.drain();
        assert_eq!(next(&mut body).await, None);
    }
}
