//! Runs the layers around every handler: metrics, audit, limit, authorize, panic guard, failure.
//!
//! The layers are functions and guards, not tower services. Their order is defined in one function,
//! [`respond`]; they need no boxed future each; and the route, the caller and the path are arguments instead
//! of request extensions.

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
use crate::http::request_body::{BodyLimits, RequestBody, Source, WaitsFor};
use crate::http::response::{ApiResponse, ResponseBody};
use crate::limit::budget::SMALL_LEN;

/// Processes a request: runs its handler within the layers, and returns the response.
///
/// It is not an `async fn`, because the future of one would store the arguments twice.
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
            // The request timed out while it waited for its body or for memory.
            WaitsFor::Body => ApiError::body_too_slow(),
            WaitsFor::Memory => ApiError::too_many_requests(),
            WaitsFor::Nothing if is_queued(&request) => ApiError::too_many_requests(),
            WaitsFor::Nothing => error,
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

/// Returns whether requests of the identity wait for a slot to call the key store: then a timeout means that
/// the client sends too many requests. Changes are excluded, because their outcome is unknown.
fn is_queued(request: &RequestContext) -> bool {
    let has_waiting = |identity| request.keyring().has_waiting(identity);
    !request.route.route.is_change && request.identity().is_some_and(has_waiting)
}
