//! The time a request may take. The byte limit is armed with the request's body and answered
//! where the body is read, after the policy.

use std::pin::Pin;
use std::time::Duration;

use crate::error::{ApiError, Outcome};

/// Runs `work` for `timeout` at the most; `failed` is the message of the 504.
pub(crate) async fn within(
    timeout: Option<Duration>,
    failed: &'static str,
    work: Pin<&mut (impl Future<Output = Outcome> + Send)>,
) -> Outcome {
    match timeout {
        None => work.await,
        Some(timeout) => match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ApiError::timed_out(failed)),
        },
    }
}
