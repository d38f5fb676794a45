//! Reads request bodies within their limits of length, rate and memory.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http_body::Body as _;
use http_body_util::{BodyExt as _, Either};
use hyper::body::Incoming;
use kes_types::wire::message;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::connection::peer::Peer;
use crate::http::error::ApiError;
use crate::limit::budget::{Client, Held, SMALL_LEN};

/// How many bytes of an unread body are discarded, so that an HTTP/1.1 connection can be reused.
const DISCARDED_MAX: usize = 64 << 10;

/// How many bytes of a body that exceeds its limit are discarded, so that a client which sends its whole body
/// before it reads receives the response.
const OVERSIZE_DISCARDED_MAX: usize = 8 << 20;

/// How long a response waits while the unread body is discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a body may be below its least rate.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// The limits of a request body.
#[derive(Clone, Debug)]
pub(crate) struct BodyLimits {
    /// The longest body, in bytes.
    pub(crate) bytes_max: usize,
    /// The least rate, in bytes per second.
    pub(crate) rate: usize,
    /// The peer of the connection, which has the memory budget.
    pub(crate) peer: Arc<Peer>,
    pub(crate) client: Client,
}

/// Reads the body of a request. Bytes that the handler does not read are discarded.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: Source,
    limits: BodyLimits,
    state: State,
    waits: WaitsFor,
    /// Memory for a large body, and for a response of its length.
    held: Option<Box<Held>>,
}

/// The resource that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// Neither body nor memory.
    Nothing,
    /// More bytes of its body.
    Body,
    /// Memory of the budget.
    Memory,
}

/// The state of reading a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be more.
    Open,
    /// There may be more, and the limit is already exceeded.
    Oversize,
    /// It was read to its end.
    Ended,
    /// The connection failed, or the body was too slow.
    Broken,
}

/// The source of a request's body: the connection, or axum's router.
pub(crate) type Source = Either<Incoming, Body>;

impl RequestBody {
    pub(crate) fn new(body: Source, limits: BodyLimits) -> Self {
        Self { body, limits, state: State::Open, waits: WaitsFor::Nothing, held: None }
    }

    /// Reads the body as JSON: an object, or `null` for an empty one. `invalid` is the message of the error for
    /// anything else. A missing body is refused: a client that lost its body must not receive a data key
    /// without context.
    pub(crate) async fn json<T: DeserializeOwned + Default>(
        &mut self,
        invalid: &'static str,
    ) -> Result<T, ApiError> {
        self.waits = WaitsFor::Body;
        let body = self.read().await?;
        self.waits = WaitsFor::Nothing;
        let bytes = body.trim_ascii();
        match bytes.first() {
            None if body.is_empty() => Err(ApiError::bad_request(message::BODY_EMPTY)),
            Some(b'{') => serde_json::from_slice(bytes).map_err(|_| ApiError::bad_request(invalid)),
            Some(_) if bytes == b"null" => Ok(T::default()),
            _ => Err(ApiError::bad_request(invalid)),
        }
    }

    /// Returns the resource that the request waits for.
    pub(crate) fn waits(&self) -> WaitsFor {
        self.waits
    }

    /// Waits for memory for a response of up to `bytes`.
    pub(crate) async fn reserve(&mut self, bytes: usize) -> Result<(), ApiError> {
        let before = std::mem::replace(&mut self.waits, WaitsFor::Memory);
        let BodyLimits { peer, client, .. } = &self.limits;
        self.held = Some(Box::new(peer.budget.hold(client, bytes).await?));
        self.waits = before;
        Ok(())
    }

    /// Returns the held memory for a response of `bytes`; `None` for a small one.
    pub(crate) fn take_held(&mut self, bytes: usize) -> Option<Box<Held>> {
        let mut held = self.held.take()?;
        if bytes <= SMALL_LEN {
            return None;
        }
        held.shrink_to(bytes);
        Some(held)
    }

    /// Reads the whole body, up to the route's limit. A large one waits for memory.
    async fn read(&mut self) -> Result<Bytes, ApiError> {
        let announced = self.body.size_hint();
        if announced.lower() > self.limits.bytes_max as u64 {
            self.state = State::Oversize;
            return Err(ApiError::body_too_large());
        }
        let expected = announced.exact().and_then(|len| usize::try_from(len).ok());
        let (mut first, mut joined): (Bytes, Option<BytesMut>) = (Bytes::new(), None);
        let mut begun = None;
        while !self.is_ended() {
            let so_far = joined.as_ref().map_or(first.len(), BytesMut::len);
            let Some(data) = self.data_in_time(&mut begun, so_far).await? else { break };
            let len = so_far + data.len();
            if len > self.limits.bytes_max {
                self.state = State::Oversize;
                return Err(ApiError::body_too_large());
            }
            if len > SMALL_LEN && self.held.is_none() {
                let waiting = Instant::now();
                // The response may be as long as the body.
                self.reserve(2 * expected.unwrap_or(self.limits.bytes_max)).await?;
                begun = begun.map(|begun| begun + waiting.elapsed());
            }
            if so_far == 0 {
                first = data;
            } else {
                // The first frame is copied and dropped, because it may keep a whole read buffer in memory.
                let first = std::mem::take(&mut first);
                joined.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&data);
            }
        }
        Ok(joined.map_or(first, BytesMut::freeze))
    }

    /// Returns how long it may take until more than `bytes` are received.
    fn time_for(&self, bytes: usize) -> Duration {
        let rate = self.limits.rate.max(1) as u64;
        GRACE + Duration::from_millis((bytes as u64).saturating_mul(1000) / rate)
    }

    /// Returns whether the whole body was received, as far as its length is known.
    fn is_ended(&mut self) -> bool {
        if self.body.is_end_stream() {
            self.state = State::Ended;
        }
        self.state == State::Ended
    }

    /// Reads the next bytes of the body within the time limit. `begun` is the time at which waiting for the
    /// body began; it is set when needed.
    async fn data_in_time(
        &mut self,
        begun: &mut Option<Instant>,
        so_far: usize,
    ) -> Result<Option<Bytes>, ApiError> {
        let time = self.time_for(so_far);
        {
            let mut data = pin!(self.next_data());
            let mut deadline = None;
            // Most bodies are received with their head and need no timer. On HTTP/1.1 they are passed on
            // after the first poll here. A future that is not woken is polled again by `limit::within`.
            let soon = poll_fn(|cx| match (data.as_mut().poll(cx), deadline) {
                (Poll::Ready(data), _) => Poll::Ready(Ok(data)),
                (Poll::Pending, None) => {
                    deadline = Some(*begun.get_or_insert_with(Instant::now) + time);
                    Poll::Pending
                }
                (Poll::Pending, Some(deadline)) => Poll::Ready(Err(deadline)),
            });
            match soon.await {
                Ok(data) => return data,
                Err(deadline) => {
                    if let Ok(data) = tokio::time::timeout_at(deadline, data).await {
                        return data;
                    }
                }
            }
        }
        self.state = State::Broken;
        Err(ApiError::body_too_slow())
    }

    async fn next_data(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            match self.body.frame().await {
                None => {
                    self.state = State::Ended;
                    return Ok(None);
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
                Some(Err(_)) => {
                    self.state = State::Broken;
                    return Err(ApiError::bad_request(message::BODY_INVALID));
                }
            }
        }
    }

    /// Discards the unread bytes, within limits; if they are exceeded, hyper closes an HTTP/1.1 connection.
    pub(crate) async fn discard(&mut self) {
        if self.state == State::Broken || self.is_ended() {
            return;
        }
        let is_oversize = self.state == State::Oversize;
        let mut left = if is_oversize { OVERSIZE_DISCARDED_MAX } else { DISCARDED_MAX };
        let discarding = async {
            while let Ok(Some(data)) = self.next_data().await {
                match left.checked_sub(data.len()) {
                    Some(further) => left = further,
                    None => break,
                }
            }
        };
        // If the body is too slow or too long, the response is sent and hyper closes the connection.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, discarding).await;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::SocketAddr;

    use axum::http::StatusCode;
    use futures_util::{poll, stream};
    use kes_types::wire::{EncryptRequest, GenerateRequest};

    use super::*;
    use crate::http::layer::limit;
    use crate::limit::accounts::Accounts;
    use crate::limit::budget::Budget;
    use crate::state::shutdown::Stop;

    const MIB: usize = 1 << 20;

    fn limits(bytes_max: usize, budget: usize) -> BodyLimits {
        let budget = Budget::new(budget, budget, 10, Stop::new());
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let peer = Peer::new(address, &[[0; 0]; 0], Accounts::new(10, 10), &budget);
        BodyLimits { bytes_max, rate: 16 << 10, peer: Arc::new(peer), client: None }
    }

    fn body(text: impl Into<Body>, limits: &BodyLimits) -> RequestBody {
        RequestBody::new(Source::Right(text.into()), limits.clone())
    }

    fn large() -> String {
        format!(r#"{{"plaintext":"{}"}}"#, "A".repeat(64 << 10))
    }

    #[tokio::test]
    async fn a_large_body_waits_for_memory_and_a_small_one_does_not() {
        let limits = limits(MIB, 200 << 10);
        let (mut first, mut second) = (body(large(), &limits), body(large(), &limits));
        first.json::<EncryptRequest>(message::BODY_INVALID).await.unwrap();
        {
            let mut reading = pin!(second.json::<EncryptRequest>(message::BODY_INVALID));
            assert!(poll!(&mut reading).is_pending());
            let mut small = body(r#"{"context":"YQ=="}"#, &limits);
            let small = small.json::<GenerateRequest>(message::BODY_INVALID).await.unwrap();
            assert_eq!(small.context.0, b"a");
            assert!(poll!(&mut reading).is_pending());
        }
        assert_eq!(second.waits(), WaitsFor::Memory);
        // The memory of the response has its length.
        let held = first.take_held(64 << 10).unwrap();
        assert_eq!(held.bytes(), 64 << 10);
        drop(held);
        let mut third = body(large(), &limits);
        third.json::<EncryptRequest>(message::BODY_INVALID).await.unwrap();
        assert!(third.take_held(100).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_below_the_least_rate_is_a_request_timeout() {
        let limits = limits(MIB, 64 * MIB);
        let stalled = stream::pending::<Result<Bytes, Infallible>>();
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"{")), ()))
        });
        for slow in [Body::from_stream(stalled), Body::from_stream(trickle)] {
            let begun = Instant::now();
            let mut slow = body(slow, &limits);
            let reading = pin!(slow.json::<GenerateRequest>(message::BODY_INVALID));
            let error = limit::within(begun, Some(GRACE * 3), "", reading).await.unwrap_err();
            assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
            assert!(begun.elapsed() <= GRACE + Duration::from_secs(1));
        }
        // This one is slow, but above the least rate.
        let pieces = stream::unfold(0, |n| async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            (n < 8).then(|| (Ok::<_, Infallible>(Bytes::from(vec![b' '; 64 << 10])), n + 1))
        });
        let mut slow = body(Body::from_stream(pieces), &limits);
        let error = slow.json::<GenerateRequest>(message::BODY_INVALID).await.unwrap_err();
        assert_eq!(error.message(), message::BODY_INVALID);
    }

    #[tokio::test]
    async fn a_body_is_an_object_or_null_and_not_empty() {
        let limits = limits(64, 64 * MIB);
        let read = async |text: &'static str| {
            let result = body(text, &limits).json::<GenerateRequest>(message::BODY_INVALID).await;
            result.map(|request| request.context.0).map_err(|error| error.message().to_owned())
        };
        assert_eq!(read("{}").await, Ok(Vec::new()));
        assert_eq!(read(" null\n").await, Ok(Vec::new()));
        assert_eq!(read("").await, Err(message::BODY_EMPTY.to_owned()));
        for text in [" ", "[]", "5", "nul", "{} {}", r#"{"context":"YQ"}"#, r#"{"context":"#] {
            assert_eq!(read(text).await, Err(message::BODY_INVALID.to_owned()), "{text}");
        }
        let long = read(
            r#"{"context":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
        );
        assert_eq!(long.await, Err(message::BODY_TOO_LARGE.to_owned()));
    }
}
