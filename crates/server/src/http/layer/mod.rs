//! The layers around every handler, one file each, in the order of [`respond`]: metrics, audit, limit, authorize,
//! panic guard; failures are logged on the way back.
//!
//! The layers are functions and guards, not tower layers: their order stands in one function, and a request costs
//! no boxed future for each of them.

mod audit;
mod authorize;
mod failure;
pub(crate) mod limit;
mod metrics;
mod panic;

use std::pin::pin;

use tokio::time::Instant;

use crate::http::dispatch::dispatch;
use crate::http::error::ApiError;
use crate::http::request::RequestContext;
use crate::http::request_body::{BodyLimits, RequestBody, Source, Waits};
use crate::http::response::{ApiResponse, ResponseBody};
use crate::limit::budget::SMALL_LEN;

/// Answers a request: through the layers to its handler and back.
///
/// A function that returns a future, because an `async fn` would keep its arguments twice.
pub(crate) fn respond(
    mut request: RequestContext,
    body: Source,
) -> impl Future<Output = ApiResponse> + Send {
    let slot = request.app.accounts.begin(request.caller.account.take());
    let limits = BodyLimits {
        bytes_max: request.route.route.body_max,
        rate: request.app.limits.body_rate,
        peer: std::sync::Arc::clone(&request.peer),
        client: request.caller.known_identity(),
    };
    let mut body = RequestBody::new(body, limits);
    async move {
        let (app, route) = (&*request.app, request.route.route);
        let metrics = app.metrics.begin(route.is_measured);
        let audit = audit::begin(&request);
        let result = {
            let work = pin!(async {
                if !route.verb.accepts(&request.method) {
                    return Err(ApiError::method_not_allowed(route.verb.allow()));
                }
                if slot.is_none() {
                    return Err(ApiError::too_many_requests());
                }
                let permit = authorize::permit(&request)?;
                if route.response_max > SMALL_LEN {
                    body.reserve(route.response_max).await?;
                }
                panic::guard(dispatch(&request, &permit, &mut body)).await
            });
            let begun = Instant::from_std(request.begun);
            limit::within(begun, request.route.timeout, route.failed, work).await
        };
        let result = result.map_err(|error| match body.waits() {
            _ if !error.is_timeout() => error,
            // The request has waited for its body, or for memory, and not for its handler.
            Waits::Body => ApiError::body_too_slow(),
            Waits::Turn => ApiError::too_many_requests(),
            Waits::No if is_queued(&request) => ApiError::too_many_requests(),
            Waits::No => error,
        });
        if !matches!(&result, Err(error) if error.is_timeout()) {
            body.discard().await;
        }

        let mut response = result.unwrap_or_else(|error| failure::respond(&request, &error));
        let ended = app.clock.monotonic();
        if let ResponseBody::Left(whole) = response.body_mut() {
            whole.hold(body.take_held(whole.len()), slot, Instant::from_std(ended));
        }
        drop(body);
        let status = response.status();
        let taken = ended.saturating_duration_since(request.begun);
        audit.finish(status, taken).await;
        metrics.finish(status, taken);
        response
    }
}

/// Whether a request that reached its timeout is one of several of its client that wait for a slot among the store
/// calls. Of a change the outcome is not known by then.
fn is_queued(request: &RequestContext) -> bool {
    let has_waiting = |identity| request.keyring().has_waiting(identity);
    !request.route.route.is_change && request.identity().is_some_and(has_waiting)
}
