//! Request bodies within their limits, and the bodies of answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use bytes::BytesMut;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use kes_types::wire::message;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;
use crate::idle::InFlight;

/// How much of a body that nobody wants is read, so that an HTTP/1.1 connection can go on.
const DISCARDED_MAX: usize = 64 << 10;

/// How much of a body over its limit is read, so that a client which writes before it reads sees
/// the answer.
const OVERSIZE_DISCARDED_MAX: usize = 8 << 20;

/// How long an answer waits for the rest of a body that nobody wants.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of request bodies that the whole server holds at a time; over it reading waits.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS))))
    }

    /// Waits for room for `bytes`; `None` is never the case while the server lives.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.0).acquire_many_owned(bytes).await.ok()
    }
}

/// The body of a request that is being answered. Whatever its handler leaves is discarded.
#[derive(Debug)]
pub(crate) struct RequestBody {
    body: Source,
    bytes_max: usize,
    budget: BodyBudget,
    state: State,
    is_awaited: bool,
}

/// How far a body was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There may be more.
    Open,
    /// There may be more, and it is too much already.
    Oversize,
    /// It came to its end.
    Ended,
    /// It broke off.
    Broken,
}

/// Where a request's body comes from: the connection, or the router.
pub(crate) type Source = Either<Incoming, Body>;

impl RequestBody {
    pub(crate) fn new(body: Source, bytes_max: usize, budget: BodyBudget) -> Self {
        Self { body, bytes_max, budget, state: State::Open, is_awaited: false }
    }

    /// Reads the body as JSON: an object, or `null` for an empty one. `invalid` is the message for
    /// anything else; no body at all is refused, since a client that lost its body must not get
    /// a data key without context.
    pub(crate) async fn json<T: DeserializeOwned + Default>(
        &mut self,
        invalid: &'static str,
    ) -> Result<T, ApiError> {
        self.is_awaited = true;
        let body = self.read().await?;
        self.is_awaited = false;
        let bytes = body.bytes.trim_ascii();
        match bytes.first() {
            None if body.bytes.is_empty() => Err(ApiError::bad_request(message::BODY_EMPTY)),
            Some(b'{') => serde_json::from_slice(bytes).map_err(|_| ApiError::bad_request(invalid)),
            Some(_) if bytes == b"null" => Ok(T::default()),
            _ => Err(ApiError::bad_request(invalid)),
        }
    }

    /// Whether a handler is waiting for the rest of the body.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// Reads the whole body, up to the route's limit.
    async fn read(&mut self) -> Result<HeldBytes, ApiError> {
        let announced = self.body.size_hint().lower();
        if announced > u64::try_from(self.bytes_max).unwrap_or(u64::MAX) {
            self.state = State::Oversize;
            return Err(ApiError::body_too_large());
        }
        let mut held = HeldBytes { bytes: Bytes::new(), room: None };
        let mut joined: Option<BytesMut> = None;
        while let Some(data) = self.next_data().await? {
            let so_far = joined.as_ref().map_or(held.bytes.len(), BytesMut::len);
            if so_far + data.len() > self.bytes_max {
                self.state = State::Oversize;
                return Err(ApiError::body_too_large());
            }
            held.hold(self.budget.take(data.len()).await);
            if so_far == 0 {
                held.bytes = data;
            } else {
                // The first frame is let go of: it may pin a whole read buffer.
                let first = std::mem::take(&mut held.bytes);
                joined.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&data);
            }
        }
        if let Some(joined) = joined {
            held.bytes = joined.freeze();
        }
        Ok(held)
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

    /// Reads and drops what is left, within bounds; beyond them the connection is not used again.
    pub(crate) async fn discard(&mut self) {
        let is_over = matches!(self.state, State::Ended | State::Broken);
        if is_over || self.body.is_end_stream() {
            return;
        }
        let is_oversize = self.state == State::Oversize;
        let mut left = if is_oversize { OVERSIZE_DISCARDED_MAX } else { DISCARDED_MAX };
        let rest = async {
            while let Ok(Some(data)) = self.next_data().await {
                match left.checked_sub(data.len()) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        // Too slow or too long: the answer leaves, and hyper closes the connection behind it.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, rest).await;
    }
}

/// A body that was read, and its share of the budget.
struct HeldBytes {
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

impl HeldBytes {
    fn hold(&mut self, more: Option<OwnedSemaphorePermit>) {
        match (&mut self.room, more) {
            (Some(room), Some(more)) => room.merge(more),
            (room @ None, more) => *room = more,
            (Some(_), None) => {}
        }
    }
}

/// An answer before it leaves.
pub(crate) type Answer = Response<AnswerBody>;

/// The body of an answer: all of it, or one that comes by and by.
pub(crate) type AnswerBody = Either<Full<Bytes>, Body>;

/// An answer with all of its body.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Answer {
    Response::new(Either::Left(Full::new(bytes.into())))
}

/// The body of an answer on its way to the client: the request is in flight until it was sent.
#[derive(Debug)]
pub(crate) struct SentBody {
    body: AnswerBody,
    _in_flight: InFlight,
}

impl SentBody {
    pub(crate) fn new(body: AnswerBody, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What most answers fit into.
const JSON_LEN: usize = 256;

/// A JSON answer with status 200.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<Answer, ApiError> {
    let mut bytes = Vec::with_capacity(JSON_LEN);
    serde_json::to_writer(&mut bytes, value).map_err(ApiError::internal)?;
    let mut response = whole(bytes);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// An empty answer with status 200; clients that never read it must be able to reuse their
/// connection, so its length is stated.
pub(crate) fn empty() -> Answer {
    let mut response = whole(Bytes::new());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// Makes an answer one to HEAD: it tells the length of a body that it does not have. HTTP/1.1 would
/// leave the body out by itself, h2 would send it.
pub(crate) fn withhold(answer: &mut Answer) {
    if let Either::Left(whole) = answer.body_mut()
        && let Some(len) = std::mem::take(whole).size_hint().exact()
    {
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use kes_types::wire::GenerateRequest;

    use super::*;

    fn body(text: &'static str, budget: &BodyBudget) -> RequestBody {
        RequestBody::new(Source::Right(Body::from(text)), 64, budget.clone())
    }

    #[tokio::test]
    async fn over_the_budget_reading_waits_until_others_are_done() {
        let budget = BodyBudget::new(20);
        let mut first = body(r#"{"context":""}"#, &budget);
        let held = first.read().await.unwrap();

        let mut second = body(r#"{"context":"YQ=="}"#, &budget);
        let mut reading = Box::pin(second.json::<GenerateRequest>(message::BODY_INVALID));
        assert!(poll!(&mut reading).is_pending());
        drop(held);
        assert_eq!(reading.await.unwrap().context.0, b"a");
    }

    #[tokio::test]
    async fn a_body_is_an_object_or_null_and_never_nothing() {
        let budget = BodyBudget::new(1 << 20);
        let read = async |text| {
            let result = body(text, &budget).json::<GenerateRequest>(message::BODY_INVALID).await;
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
