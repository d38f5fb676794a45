//! Log streams: events to whoever follows them right now.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures_util::stream;
use kes_types::Identity;
use kes_types::wire::ErrorEvent;
use tokio::sync::mpsc;

use crate::error::{ApiError, Outcome};
use crate::shutdown::Stop;

/// Events that wait for one reader; beyond them a slow reader loses events, and is told.
const READER_EVENTS_MAX: usize = 1024;

/// Streams of one identity.
const STREAMS_PER_IDENTITY_MAX: usize = 16;

/// Streams of all identities together.
const STREAMS_MAX: usize = 64;

/// An event that can be written as a line of a stream.
pub trait LogLine: Clone + Send + Sync + 'static {
    /// One JSON object without a line feed; `lost` events went missing before this one.
    fn line(&self, lost: u64) -> Vec<u8>;

    /// The same shape for a gap that no event has followed yet.
    fn gap() -> Self;
}

impl LogLine for ErrorEvent {
    fn line(&self, lost: u64) -> Vec<u8> {
        serde_json::to_vec(&Self { lost, ..self.clone() }).unwrap_or_default()
    }

    fn gap() -> Self {
        Self { message: "events were lost: this reader is too slow".to_owned(), lost: 0 }
    }
}

/// Counts streams of both logs against their limits.
#[derive(Debug, Default)]
pub(crate) struct StreamLimits(Mutex<HashMap<Option<Identity>, usize>>);

impl StreamLimits {
    fn enter(self: &Arc<Self>, identity: Option<Identity>) -> Result<StreamPlace, ApiError> {
        let mut streams = lock(&self.0);
        let total: usize = streams.values().sum();
        let own = streams.entry(identity).or_default();
        if *own >= STREAMS_PER_IDENTITY_MAX || total >= STREAMS_MAX {
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many log streams"));
        }
        *own += 1;
        Ok(StreamPlace { limits: Arc::clone(self), identity })
    }
}

/// A stream's place, given back when it ends.
#[derive(Debug)]
struct StreamPlace {
    limits: Arc<StreamLimits>,
    identity: Option<Identity>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut streams = lock(&self.limits.0);
        if let Some(own) = streams.get_mut(&self.identity) {
            *own -= 1;
            if *own == 0 {
                streams.remove(&self.identity);
            }
        }
    }
}

/// A log that can be followed. Publishing never waits.
#[derive(Debug)]
pub(crate) struct Hub<E> {
    readers: Mutex<Vec<Reader<E>>>,
    /// How many there are, to be asked without the lock.
    reader_count: AtomicUsize,
    events: AtomicU64,
}

#[derive(Debug)]
struct Reader<E> {
    events: mpsc::Sender<(E, u64)>,
    /// Events lost since the last one that was handed over, or told of.
    lost: Arc<AtomicU64>,
    /// The request that opened the stream; it is not told of itself.
    opened_by: u64,
}

impl<E> Default for Hub<E> {
    fn default() -> Self {
        Self {
            readers: Mutex::default(),
            reader_count: AtomicUsize::new(0),
            events: AtomicU64::new(0),
        }
    }
}

impl<E: LogLine> Hub<E> {
    /// Counts an event; `false` if nobody follows the log.
    pub(crate) fn count(&self) -> bool {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.reader_count.load(Ordering::Acquire) > 0
    }

    /// How many events were counted.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Hands an event to every reader but the one that `request` opened. One whose buffer is full
    /// loses it.
    pub(crate) fn publish(&self, event: &E, request: Option<u64>) {
        let mut readers = lock(&self.readers);
        readers.retain_mut(|reader| Some(reader.opened_by) == request || reader.take(event));
        self.reader_count.store(readers.len(), Ordering::Release);
    }

    /// An endless answer to `request`, a line per event from now on; it ends with the server.
    pub(crate) fn follow(
        &self,
        limits: &Arc<StreamLimits>,
        identity: Option<Identity>,
        request: u64,
        stop: &Stop,
    ) -> Outcome {
        let place = limits.enter(identity)?;
        let (sender, receiver) = mpsc::channel(READER_EVENTS_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        {
            let mut readers = lock(&self.readers);
            readers.push(Reader { events: sender, lost: Arc::clone(&lost), opened_by: request });
            self.reader_count.store(readers.len(), Ordering::Release);
        }
        let follower = Follower { receiver, lost, stop: stop.clone(), _place: place };
        let lines = stream::unfold(follower, |mut follower| async move {
            let line = follower.next_line().await?;
            Some((Ok::<_, Infallible>(line), follower))
        });
        let mut response = Response::new(Body::from_stream(lines));
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
        response.extensions_mut().insert(Streaming);
        Ok(response)
    }
}

impl<E: LogLine> Reader<E> {
    /// Takes an event; `false` if nobody reads any longer.
    fn take(&mut self, event: &E) -> bool {
        match self.events.try_reserve() {
            Ok(place) => place.send((event.clone(), self.lost.swap(0, Ordering::AcqRel))),
            Err(mpsc::error::TrySendError::Full(())) => {
                self.lost.fetch_add(1, Ordering::AcqRel);
            }
            Err(mpsc::error::TrySendError::Closed(())) => return false,
        }
        true
    }
}

/// Marks an answer whose body goes on after its head: the connection is in use until it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streaming;

/// The reading end of a stream.
struct Follower<E> {
    receiver: mpsc::Receiver<(E, u64)>,
    lost: Arc<AtomicU64>,
    stop: Stop,
    _place: StreamPlace,
}

impl<E: LogLine> Follower<E> {
    async fn next_line(&mut self) -> Option<Bytes> {
        let (event, lost) = match self.receiver.try_recv() {
            Ok(next) => next,
            Err(_) => match self.lost.swap(0, Ordering::AcqRel) {
                0 => self.stop.soft().run_until_cancelled(self.receiver.recv()).await.flatten()?,
                lost => (E::gap(), lost),
            },
        };
        if self.stop.is_draining() {
            return None;
        }
        let mut line = event.line(lost);
        line.push(b'\n');
        Some(line.into())
    }
}

/// The error log, as it can be followed at `/v1/log/error`. The process's log subscriber feeds it.
#[derive(Clone, Debug, Default)]
pub struct ErrorLog(pub(crate) Arc<Hub<ErrorEvent>>);

impl ErrorLog {
    /// A log that nobody follows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes an error; `message` is asked for only if somebody follows the log.
    pub fn publish(&self, message: impl FnOnce() -> String) {
        if self.0.count() {
            self.0.publish(&ErrorEvent { message: message(), lost: 0 }, None);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn event(message: &str) -> ErrorEvent {
        ErrorEvent { message: message.to_owned(), lost: 0 }
    }

    async fn next(body: &mut Body) -> Option<ErrorEvent> {
        let frame = body.frame().await?.unwrap();
        serde_json::from_slice(&frame.into_data().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_slow_reader_loses_events_and_is_told_how_many() {
        let hub = Hub::default();
        let response = hub.follow(&Arc::default(), None, 1, &Stop::new()).unwrap();
        let mut body = response.into_body();
        for n in 0..READER_EVENTS_MAX + 5 {
            assert!(hub.count());
            hub.publish(&event("of itself"), Some(1));
            hub.publish(&event(&n.to_string()), Some(2));
        }
        assert_eq!(next(&mut body).await, Some(event("0")));
        hub.publish(&event("after"), None);
        for _ in 1..READER_EVENTS_MAX {
            assert_eq!(next(&mut body).await.unwrap().lost, 0);
        }
        assert_eq!(next(&mut body).await, Some(ErrorEvent { message: "after".into(), lost: 5 }));

        for _ in 0..READER_EVENTS_MAX + 7 {
            hub.publish(&event("more"), None);
        }
        for _ in 0..READER_EVENTS_MAX {
            assert_eq!(next(&mut body).await, Some(event("more")));
        }
        assert_eq!(next(&mut body).await.unwrap().lost, 7);
    }

    #[tokio::test]
    async fn streams_are_limited_per_identity_and_in_all_and_end_with_the_server() {
        let (hub, limits, stop) = (Hub::<ErrorEvent>::default(), Arc::default(), Stop::new());
        let who = |seed: u8| Some(Identity::of_public_key(&[seed]));
        let mut open = Vec::new();
        for seed in 0..4 {
            for _ in 0..STREAMS_PER_IDENTITY_MAX {
                open.push(hub.follow(&limits, who(seed), 1, &stop).unwrap());
            }
            let refused = hub.follow(&limits, who(seed), 1, &stop).unwrap_err();
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        }
        assert!(hub.follow(&limits, who(9), 1, &stop).is_err());
        open.pop();
        let mut body = hub.follow(&limits, who(9), 1, &stop).unwrap().into_body();
        stop.drain();
        assert_eq!(next(&mut body).await, None);
    }
}
