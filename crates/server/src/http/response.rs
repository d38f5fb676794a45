//! Responses and their bodies. A body holds its share of the memory budget until it was written to the client.
//!
//! The bytes of a response have an owner (`Bytes::from_owner`) that hyper and h2 drop when the bytes are written. The request's
//! slot, its share of the memory budget and the connection's activity belong to that owner, so that no count relies on a
//! body being sent because it was handed to hyper.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};
use futures_util::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use http_body_util::Either;
use kes_types::wire::ErrorBody;
use tokio::time::Instant;

use crate::connection::activity::{Activity, InFlight};
use crate::http::error::ApiError;
use crate::limit::accounts::RequestSlot;
use crate::limit::budget::{Held, SMALL_LEN};

/// A large response is handed to hyper in pieces of this length, each when the last one was written.
const PIECE_LEN: usize = 16 << 10;

/// A response before it is sent.
pub(crate) type ApiResponse = Response<ResponseBody>;

/// What a handler returns.
pub(crate) type ApiResult = Result<ApiResponse, ApiError>;

/// The body of a response: complete, or a stream.
pub(crate) type ResponseBody = Either<Whole, Body>;

/// A body that is there as a whole.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    bytes: Vec<u8>,
    ticket: Ticket,
    /// When the answer was given, if that is known already.
    given: Option<Instant>,
}

/// What a response holds until it was written; dropped with its last byte.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    pub(crate) held: Option<Box<Held>>,
    pub(crate) request: Option<RequestSlot>,
    in_flight: Option<InFlight>,
}

impl Whole {
    /// Adds what is held until the body was taken, and when the answer was given.
    pub(crate) fn hold(
        &mut self,
        held: Option<Box<Held>>,
        request: Option<RequestSlot>,
        given: Instant,
    ) {
        (self.ticket.held, self.ticket.request) = (held, request);
        self.given = Some(given);
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Bytes that are on their way to the client, and what they hold.
struct Sending {
    bytes: Vec<u8>,
    _ticket: Ticket,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A piece of an answer; dropping it says that it was taken.
struct Piece {
    bytes: Bytes,
    taken: Arc<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    is_taken: AtomicBool,
    sender: AtomicWaker,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.taken.is_taken.store(true, Ordering::Release);
        self.taken.sender.wake();
    }
}

impl Taken {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.sender.register(cx.waker());
        if self.is_taken.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The body of an answer on its way to the client.
#[derive(Debug)]
pub(crate) enum SentBody {
    /// All of it at once; none when it was handed on, or there is nothing.
    Small(Option<Bytes>),
    /// A piece at a time.
    Large(LargeBody),
    /// One without an end. The request is in flight for as long as this is held.
    Stream(Body, #[expect(dead_code, reason = "held, and dropped with the body")] InFlight),
}

/// A body that is handed on piece by piece.
#[derive(Debug)]
pub(crate) struct LargeBody {
    rest: Bytes,
    /// The piece that was handed on last.
    piece: Arc<Taken>,
    activity: Arc<Activity>,
}

impl SentBody {
    /// The answer is given; `in_flight` ends when it was taken.
    pub(crate) fn new(body: ResponseBody, in_flight: InFlight) -> Self {
        let Whole { bytes, mut ticket, given } = match body {
            Either::Left(whole) => whole,
            Either::Right(body) => return Self::Stream(body, in_flight.into_stream()),
        };
        if bytes.is_empty() {
            return Self::Small(None);
        }
        let is_large = bytes.len() > SMALL_LEN;
        let activity = is_large.then(|| Arc::clone(in_flight.activity()));
        ticket.in_flight =
            Some(in_flight.into_sending(is_large, given.unwrap_or_else(Instant::now)));
        let bytes = Bytes::from_owner(Sending { bytes, _ticket: ticket });
        match activity {
            None => Self::Small(Some(bytes)),
            Some(activity) => {
                let piece = Arc::new(Taken { is_taken: true.into(), ..Taken::default() });
                Self::Large(LargeBody { rest: bytes, piece, activity })
            }
        }
    }
}

impl LargeBody {
    fn poll_piece(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        if self.piece.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.activity.progress();
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_LEN));
        self.piece = Arc::default();
        let piece = Piece { bytes, taken: Arc::clone(&self.piece) };
        Poll::Ready(Some(Bytes::from_owner(piece)))
    }
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let data = match &mut *self {
            Self::Small(bytes) => Poll::Ready(bytes.take()),
            Self::Large(large) => large.poll_piece(cx),
            Self::Stream(body, _) => return Pin::new(body).poll_frame(cx).map_err(Into::into),
        };
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Small(bytes) => bytes.is_none(),
            Self::Large(_) => false,
            Self::Stream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Small(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Large(large) => SizeHint::with_exact(large.rest.len() as u64),
            Self::Stream(body, _) => body.size_hint(),
        }
    }
}

/// An answer with all of its body.
pub(crate) fn whole(bytes: Vec<u8>) -> ApiResponse {
    Response::new(Either::Left(Whole { bytes, ..Whole::default() }))
}

/// The capacity that most responses fit into.
const JSON_LEN: usize = 256;

/// A JSON answer with status 200.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<ApiResponse, ApiError> {
    let mut bytes = Vec::with_capacity(JSON_LEN);
    serde_json::to_writer(&mut bytes, value).map_err(ApiError::internal)?;
    if bytes.len() > SMALL_LEN {
        // What is held for it is its length, not what it grew to.
        bytes.shrink_to_fit();
    }
    let mut response = whole(bytes);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// The response to a request that failed: status, message and headers of the error, never its cause.
pub(crate) fn of_error(error: &ApiError) -> ApiResponse {
    let body = ErrorBody { message: error.message().to_owned() };
    let mut response = json(&body).unwrap_or_else(|_| empty());
    *response.status_mut() = error.status();
    if error.closes_connection() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(allow) = error.allow() {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}

/// An empty answer with status 200; clients that never read it must be able to reuse their
/// connection, so its length is stated.
pub(crate) fn empty() -> ApiResponse {
    let mut response = whole(Vec::new());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// Makes a response one to HEAD: it has the length of a body that is not sent. HTTP/1.1 would
/// leave the body out by itself, h2 would send it.
pub(crate) fn withhold(answer: &mut ApiResponse) {
    if let Either::Left(whole) = answer.body_mut() {
        let len = std::mem::take(whole).len();
        answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use futures_util::poll;
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::limit::accounts::Accounts;
    use crate::limit::budget::{Budget, ConnectionBudget};
    use crate::state::shutdown::Stop;

    const TIMEOUT: Duration = Duration::from_secs(15);

    async fn next(body: &mut SentBody) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_answer_is_in_flight_until_its_last_byte_was_taken() {
        let activity = Activity::new(TIMEOUT);
        let Either::Left(body) = whole(b"hello".to_vec()).into_body() else { unreachable!() };
        let mut body = SentBody::new(Either::Left(body), activity.begin());
        let mut bytes = next(&mut body).await;
        assert!(body.is_end_stream());
        drop(body);
        let rest = bytes.split_off(2);
        drop(bytes);
        assert_eq!(activity.idle(), None);
        drop(rest);
        assert!(activity.idle().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_is_handed_on_as_it_is_taken_and_holds_its_memory_until_then() {
        let (activity, accounts) = (Activity::new(TIMEOUT), Accounts::new(10, 10));
        let budget = Budget::new(64 << 20, 64 << 20, 10, Stop::new());
        let (all, connection) = (budget.free(), ConnectionBudget::new(&budget));
        let held = connection.hold(&None, 1 << 20).await.unwrap();
        let mut answer = whole(vec![7; 3 * PIECE_LEN - 1]);
        let Either::Left(body) = answer.body_mut() else { unreachable!() };
        body.hold(Some(Box::new(held)), accounts.begin(None), Instant::now());
        let mut body = SentBody::new(answer.into_body(), activity.begin());
        assert_eq!(body.size_hint().exact(), Some(3 * PIECE_LEN as u64 - 1));
        for _ in 0..3 {
            let piece = next(&mut body).await;
            {
                let mut frame = pin!(body.frame());
                assert!(poll!(&mut frame).is_pending());
            }
            assert_eq!(all - budget.free(), 1 << 20);
            drop(piece);
        }
        assert!(body.frame().await.is_none());
        assert_eq!(budget.free(), all);
        assert!(activity.idle().is_some());
    }
}
