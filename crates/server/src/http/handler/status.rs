//! Handles the routes about the server itself: version, readiness, status, metrics, API.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use kes_store::StoreError;
use kes_types::wire::{ApiRoute, Status, Version};

use crate::http::error::ApiError;
use crate::http::request::RequestContext;
use crate::http::response::{self, ApiResult};
use crate::state::system;

/// `GET /version`.
pub(crate) fn version(request: &RequestContext) -> ApiResult {
    let build = request.app.build;
    response::json(&Version { version: build.version.to_owned(), commit: build.commit.to_owned() })
}

/// `GET /v1/ready`.
pub(crate) async fn ready(request: &RequestContext) -> ApiResult {
    if request.app.stop.is_draining() {
        return Err(ApiError::shutting_down());
    }
    request.keyring().status().await.map_err(ApiError::readiness)?;
    Ok(response::empty())
}

/// `GET /v1/status`.
pub(crate) async fn status(request: &RequestContext) -> ApiResult {
    let store = request.keyring().status().await;
    let figures = request.app.system.figures(request.app.clock.monotonic());
    let is_unreachable =
        store.as_ref().is_err_and(|error| matches!(**error, StoreError::Unreachable(_)));
    let latency = store.as_ref().ok();
    response::json(&Status {
        version: request.app.build.version.to_owned(),
        os: system::os().to_owned(),
        arch: system::arch().to_owned(),
        uptime: request.app.uptime().as_secs(),
        num_cpu: figures.cpus,
        num_cpu_used: figures.cpus_used,
        mem_heap_used: figures.heap_bytes,
        mem_stack_used: figures.stack_bytes,
        keystore_latency: latency.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        keystore_unreachable: is_unreachable,
        keystore_unavailable: store.is_err(),
    })
}

/// `GET /v1/metrics`.
pub(crate) fn metrics(request: &RequestContext) -> ApiResult {
    let text = request.app.metrics.text(&request.app.scrape()).map_err(ApiError::internal)?;
    let mut response = response::whole(text);
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    Ok(response)
}

/// Converts a time to whole seconds, rounded up: 0 means no limit.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// `GET /v1/api`.
pub(crate) fn api(request: &RequestContext) -> ApiResult {
    let routes = request.snapshot.routes().iter().map(|configured| ApiRoute {
        method: configured.route.verb.as_str().to_owned(),
        path: configured.route.path.to_owned(),
        max_body: configured.route.body_max as u64,
        timeout: configured.timeout.map_or(0, seconds),
    });
    response::json(&routes.collect::<Vec<_>>())
}
