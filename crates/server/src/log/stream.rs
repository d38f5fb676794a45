//! Log streams: events to whoever follows them right now.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures_util::stream;
use kes_config::Limits;
use kes_types::wire::ErrorEvent;
use kes_types::{Identity, escape};

use crate::http::error::ApiError;
use crate::http::response::ApiResult;
use crate::http::response::ResponseBody;
use crate::log::line_buffer::{LineBuffer, Rest};
use crate::state::shutdown::Stop;

/// Lines that wait for one reader, in bytes; beyond them a slow reader loses events, and is told.
const READER_LEN_MAX: usize = 512 << 10;

/// An event that can be written as a line of a stream.
pub(crate) trait LogLine {
    /// One JSON object of printable characters, without a line feed; `lost` events went missing before this one.
    fn line(&self, lost: u64) -> Vec<u8>;

    /// The line for a gap that no event has followed yet.
    fn gap(lost: u64) -> Vec<u8>;
}

impl LogLine for ErrorEvent {
    fn line(&self, lost: u64) -> Vec<u8> {
        escape::json(&Self { lost, ..self.clone() }).unwrap_or_default()
    }

    fn gap(lost: u64) -> Vec<u8> {
        let message = "events were lost: this reader is too slow".to_owned();
        Self { message, lost }.line(lost)
    }
}

/// Counts streams of both logs against their limits.
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

    fn enter(self: &Arc<Self>, identity: Option<Identity>) -> Result<StreamPlace, ApiError> {
        let mut streams = lock(&self.streams);
        let total: usize = streams.values().sum();
        let own = streams.entry(identity).or_default();
        if *own >= self.per_identity_max || total >= self.streams_max {
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
        let mut streams = lock(&self.limits.streams);
        if let Some(own) = streams.get_mut(&self.identity) {
            *own -= 1;
            if *own == 0 {
                streams.remove(&self.identity);
            }
        }
    }
}

/// A log that can be followed. Publishing never waits.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    /// Who follows it; replaced as a whole, so that to look costs no lock.
    readers: ArcSwap<Vec<Arc<Reader>>>,
    events: AtomicU64,
}

#[derive(Debug)]
struct Reader {
    lines: LineBuffer,
    /// The request that opened the stream; it is not told of itself.
    opened_by: u64,
}

impl Hub {
    /// Counts an event; `false` if nobody follows the log.
    pub(crate) fn count(&self) -> bool {
        self.events.fetch_add(1, Ordering::Relaxed);
        !self.readers.load().is_empty()
    }

    /// How many events were counted.
    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Hands an event to every reader but the one that `request` opened. One whose buffer is full
    /// loses it.
    pub(crate) fn publish(&self, event: &impl LogLine, request: Option<u64>) {
        let readers = self.readers.load();
        if readers.is_empty() {
            return;
        }
        let line = ended(event.line(0));
        for reader in readers.iter() {
            if Some(reader.opened_by) != request {
                reader.lines.push(&line, |lost| ended(event.line(lost)));
            }
        }
    }

    /// An endless answer to `request`, a line per event from now on; it ends with the server.
    pub(crate) fn follow<E: LogLine>(
        self: &Arc<Self>,
        limits: &Arc<StreamLimits>,
        identity: Option<Identity>,
        request: u64,
        stop: &Stop,
    ) -> ApiResult {
        let place = limits.enter(identity)?;
        let reader =
            Arc::new(Reader { lines: LineBuffer::new(READER_LEN_MAX), opened_by: request });
        self.replace(|readers| readers.push(Arc::clone(&reader)));
        let follower = Follower {
            hub: Arc::clone(self),
            reader,
            rest: Rest::default(),
            stop: stop.clone(),
            gap: E::gap,
            _place: place,
        };
        let lines = stream::unfold(follower, |mut follower| async move {
            let lines = follower.next_lines().await?;
            Some((Ok::<_, Infallible>(lines), follower))
        });
        let mut response = Response::new(ResponseBody::Right(Body::from_stream(lines)));
        let ndjson = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
        Ok(response)
    }

    fn replace(&self, change: impl Fn(&mut Vec<Arc<Reader>>)) {
        self.readers.rcu(|readers| {
            let mut readers = Vec::clone(readers);
            change(&mut readers);
            readers
        });
    }
}

fn ended(mut line: Vec<u8>) -> Vec<u8> {
    line.push(b'\n');
    line
}

/// The reading end of a stream; nothing is kept for it once it is dropped.
struct Follower {
    hub: Arc<Hub>,
    reader: Arc<Reader>,
    rest: Rest,
    stop: Stop,
    gap: fn(u64) -> Vec<u8>,
    _place: StreamPlace,
}

impl Follower {
    async fn next_lines(&mut self) -> Option<Bytes> {
        let next = self.rest.next_batch(&self.reader.lines);
        let batch = self.stop.soft().run_until_cancelled(next).await.flatten()?;
        if self.stop.is_draining() {
            return None;
        }
        let lines = if batch.lost > 0 { ended((self.gap)(batch.lost)) } else { batch.lines };
        Some(lines.into())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.replace(|readers| readers.retain(|reader| !Arc::ptr_eq(reader, &self.reader)));
    }
}

/// The error log, as it can be followed at `/v1/log/error`. The process's log subscriber feeds it.
#[derive(Clone, Debug, Default)]
pub struct ErrorLog(pub(crate) Arc<Hub>);

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

    fn stream_limits() -> Arc<StreamLimits> {
        Arc::new(StreamLimits::new(&Limits::default()))
    }

    /// The events of the next frame.
    async fn next(body: &mut ResponseBody) -> Option<Vec<ErrorEvent>> {
        let ResponseBody::Right(body) = body else { return None };
        let frame = body.frame().await?.unwrap().into_data().unwrap();
        let lines = frame.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Some(lines.map(|line| serde_json::from_slice(line).unwrap()).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_loses_events_and_is_told_how_many() {
        let hub = Arc::new(Hub::default());
        let follow = hub.follow::<ErrorEvent>(&stream_limits(), None, 1, &Stop::new());
        let mut body = follow.unwrap().into_body();
        let long = "x".repeat(1000);
        for _ in 0..1000 {
            assert!(hub.count());
            hub.publish(&event("of itself"), Some(1));
            hub.publish(&event(&long), Some(2));
        }
        let first = next(&mut body).await.unwrap();
        assert!(first.iter().all(|event| event.message == long && event.lost == 0));
        hub.publish(&event("after"), None);
        let lost = 1000 - first.len() as u64;
        assert!(lost > 0);
        let after = ErrorEvent { message: "after".into(), lost };
        assert_eq!(next(&mut body).await, Some(vec![after]));

        for _ in 0..1000 {
            hub.publish(&event(&long), None);
        }
        assert_eq!(next(&mut body).await.unwrap().len(), first.len());
        let gap = next(&mut body).await.unwrap();
        assert_eq!((gap.len(), gap[0].lost), (1, lost));

        drop(body);
        assert!(!hub.count());
    }

    #[tokio::test]
    async fn streams_are_limited_per_identity_and_in_all_and_end_with_the_server() {
        let (hub, limits, stop) = (Arc::new(Hub::default()), stream_limits(), Stop::new());
        let follow = |who| hub.follow::<ErrorEvent>(&limits, who, 1, &stop);
        let who = |seed: u8| Some(Identity::of_public_key(&[seed]));
        let mut open = Vec::new();
        for seed in 0..4 {
            for _ in 0..limits.per_identity_max {
                open.push(follow(who(seed)).unwrap());
            }
            let refused = follow(who(seed)).unwrap_err();
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        }
        assert!(follow(who(9)).is_err());
        open.pop();
        let mut body = follow(who(9)).unwrap().into_body();
        stop.drain();
        assert_eq!(next(&mut body).await, None);
    }
}
