//! Defines responses and their bodies, which hold memory and a request slot until they are written.
//!
//! The bytes of a body have an owner ([`Bytes::from_owner`]) that hyper and h2 drop once the bytes are written.
//! The slot of the request, its share of the memory budget and its count in the connection's activity
//! belong to that owner. So a body that was passed to hyper counts until it is written.

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

/// Length of the pieces in which a large body is passed to hyper, each after the previous one was written.
const PIECE_LEN: usize = 16 << 10;

/// A response before it is passed to hyper.
pub(crate) type ApiResponse = Response<ResponseBody>;

/// The result of a handler.
pub(crate) type ApiResult = Result<ApiResponse, ApiError>;

/// The body of a response: complete, or a stream.
pub(crate) type ResponseBody = Either<Whole, Body>;

/// Holds a complete body.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    bytes: Vec<u8>,
    resources: Resources,
    /// When the response was complete, if that is known.
    given: Option<Instant>,
}

/// The resources of a response, which are released when its last byte was written.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    pub(crate) held: Option<Box<Held>>,
    pub(crate) request: Option<RequestSlot>,
    in_flight: Option<InFlight>,
}

impl Whole {
    /// Adds the resources that are held until the body is written, and the time at which it was complete.
    pub(crate) fn hold(
        &mut self,
        held: Option<Box<Held>>,
        request: Option<RequestSlot>,
        given: Instant,
    ) {
        (self.resources.held, self.resources.request) = (held, request);
        self.given = Some(given);
    }

    /// Returns the length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Owns the bytes of a body, and the resources that are released with them.
struct Sending {
    bytes: Vec<u8>,
    _resources: Resources,
}

impl AsRef<[u8]> for Sending {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Owns a piece of a body; its drop records that the piece was written.
struct Piece {
    bytes: Bytes,
    written: Arc<Written>,
}

#[derive(Debug, Default)]
struct Written {
    is_written: AtomicBool,
    waker: AtomicWaker,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.written.is_written.store(true, Ordering::Release);
        self.written.waker.wake();
    }
}

impl Written {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.is_written.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// The body of a response that was passed to hyper.
#[derive(Debug)]
pub(crate) enum SentBody {
    /// A body in one piece; `None` if it is empty or was passed on.
    Small(Option<Bytes>),
    /// A body in several pieces.
    Large(LargeBody),
    /// An endless body. The request is in flight until it is dropped.
    Stream(Body, #[expect(dead_code, reason = "held, and dropped with the body")] InFlight),
}

/// Passes on a body piece by piece.
#[derive(Debug)]
pub(crate) struct LargeBody {
    unsent: Bytes,
    /// Whether the last piece was written.
    piece: Arc<Written>,
    activity: Arc<Activity>,
}

impl SentBody {
    /// Creates the body of a complete response; `in_flight` ends when it is written.
    pub(crate) fn new(body: ResponseBody, in_flight: InFlight) -> Self {
        let Whole { bytes, mut resources, given } = match body {
            Either::Left(whole) => whole,
            Either::Right(body) => return Self::Stream(body, in_flight.into_stream()),
        };
        if bytes.is_empty() {
            return Self::Small(None);
        }
        let is_large = bytes.len() > SMALL_LEN;
        let activity = is_large.then(|| Arc::clone(in_flight.activity()));
        resources.in_flight =
            Some(in_flight.into_sending(is_large, given.unwrap_or_else(Instant::now)));
        let bytes = Bytes::from_owner(Sending { bytes, _resources: resources });
        match activity {
            None => Self::Small(Some(bytes)),
            Some(activity) => {
                let piece = Arc::new(Written { is_written: true.into(), ..Written::default() });
                Self::Large(LargeBody { unsent: bytes, piece, activity })
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
        if self.unsent.is_empty() {
            return Poll::Ready(None);
        }
        let bytes = self.unsent.split_to(self.unsent.len().min(PIECE_LEN));
        self.piece = Arc::default();
        let piece = Piece { bytes, written: Arc::clone(&self.piece) };
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
            Self::Large(large) => SizeHint::with_exact(large.unsent.len() as u64),
            Self::Stream(body, _) => body.size_hint(),
        }
    }
}

/// Creates a response with a complete body.
pub(crate) fn whole(bytes: Vec<u8>) -> ApiResponse {
    Response::new(Either::Left(Whole { bytes, ..Whole::default() }))
}

/// The initial capacity of a JSON body, in bytes; most bodies fit.
const JSON_LEN: usize = 256;

/// Creates a JSON response with status 200.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<ApiResponse, ApiError> {
    let mut bytes = Vec::with_capacity(JSON_LEN);
    serde_json::to_writer(&mut bytes, value).map_err(ApiError::internal)?;
    if bytes.len() > SMALL_LEN {
        // The memory budget counts its length, not its capacity.
        bytes.shrink_to_fit();
    }
    let mut response = whole(bytes);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

/// Creates the response to a failed request: with status, message and headers of the error, never its cause.
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

/// Creates an empty response with status 200. It has a Content-Length, so that clients which do not read it can
/// reuse their connection.
pub(crate) fn empty() -> ApiResponse {
    let mut response = whole(Vec::new());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// Removes the body of a response to HEAD, and sets its Content-Length. hyper does not send the body on
/// HTTP/1.1, but would send it on h2.
pub(crate) fn remove_body(response: &mut ApiResponse) {
    if let Either::Left(whole) = response.body_mut() {
        let len = std::mem::take(whole).len();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
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
    async fn a_small_response_is_in_flight_until_its_last_byte_is_written() {
        let activity = Activity::new(TIMEOUT);
        let Either::Left(body) = whole(b"hello".to_vec()).into_body() else { unreachable!() };
        let mut body = SentBody::new(Either::Left(body), activity.begin());
        let mut bytes = next(&mut body).await;
        assert!(body.is_end_stream());
        drop(body);
        let end = bytes.split_off(2);
        drop(bytes);
        assert_eq!(activity.idle(), None);
        drop(end);
        assert!(activity.idle().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_response_is_sent_in_pieces_and_holds_its_memory_until_it_is_written() {
        let (activity, accounts) = (Activity::new(TIMEOUT), Accounts::new(10, 10));
        let budget = Budget::new(64 << 20, 64 << 20, 10, Stop::new());
        let (all, connection) = (budget.free(), ConnectionBudget::new(&budget));
        let held = connection.hold(&None, 1 << 20).await.unwrap();
        let mut response = whole(vec![7; 3 * PIECE_LEN - 1]);
        let Either::Left(body) = response.body_mut() else { unreachable!() };
        body.hold(Some(Box::new(held)), accounts.begin(None), Instant::now());
        let mut body = SentBody::new(response.into_body(), activity.begin());
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
