//! Converts a panic in a handler into a 500, so that the server continues.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

use crate::http::error::ApiError;
use crate::http::response::ApiResult;

/// Runs `work` and returns a panic as an error to the outer layers.
pub(super) async fn guard(work: impl Future<Output = ApiResult>) -> ApiResult {
    // Unwind safety: shared values are immutable, or consistent whenever their lock is released.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(payload) => Err(ApiError::internal(Panicked(describe(&*payload)))),
    }
}

fn describe(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[derive(Debug, thiserror::Error)]
#[error("the handler panicked: {0}")]
struct Panicked(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_500_without_its_text() {
        let outcome = guard(async { panic!("secret detail") }).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.status().as_u16(), 500);
        assert_eq!(error.message(), "internal server error");
        assert!(error.causes().to_string().contains("secret detail"));
    }
}
