//! Limits the time of a request.
//!
//! The length of its body is limited by [`crate::http::request_body`], after authorization.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::http::error::ApiError;
use crate::http::request_body::GRACE;

/// Runs `work` until `timeout` after `begun`; `failed` is the message of the 504.
pub(crate) async fn within<T>(
    begun: Instant,
    timeout: Option<Duration>,
    failed: &'static str,
    mut work: Pin<&mut (impl Future<Output = Result<T, ApiError>> + Send)>,
) -> Result<T, ApiError> {
    let Some(timeout) = timeout else { return work.await };
    // Work that waits for a body without a timer of its own is polled once more when the body is late.
    match timeout_at(begun + timeout.min(GRACE), work.as_mut()).await {
        Err(_) if timeout > GRACE => timeout_at(begun + timeout, work).await,
        outcome => outcome,
    }
    .unwrap_or_else(|_| Err(ApiError::timed_out(failed)))
}
