//! The server about itself.

use std::time::Duration;

use axum::http::{HeaderValue, header};
use kes_store::StoreError;
use kes_types::wire::{ApiRoute, Status, Version};

use super::Call;
use crate::http::error::{ApiError, ApiResult};
use crate::http::response;
use crate::http::route::ROUTES;
use crate::state::system;

/// `GET /version`.
pub(crate) fn version(call: Call) -> ApiResult {
    let build = call.app.build;
    response::json(&Version { version: build.version.to_owned(), commit: build.commit.to_owned() })
}

/// `GET /v1/ready`.
pub(crate) async fn ready(call: Call) -> ApiResult {
    if call.app.stop.is_draining() {
        return Err(ApiError::shutting_down());
    }
    call.keyring().status().await.map_err(ApiError::readiness)?;
    Ok(response::empty())
}

/// `GET /v1/status`.
pub(crate) async fn status(call: Call) -> ApiResult {
    let store = call.keyring().status().await;
    let figures = call.app.system.figures(call.app.clock.monotonic());
    let is_unreachable =
        store.as_ref().is_err_and(|error| matches!(**error, StoreError::Unreachable(_)));
    let latency = store.as_ref().ok();
    response::json(&Status {
        version: call.app.build.version.to_owned(),
        os: system::os().to_owned(),
        arch: system::arch().to_owned(),
        uptime: call.app.uptime().as_secs(),
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
pub(crate) fn metrics(call: Call) -> ApiResult {
    let text = call.app.metrics.text(&call.app).map_err(ApiError::internal)?;
    let mut response = response::whole(text);
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    Ok(response)
}

/// Whole seconds, rounded up: 0 means no limit.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// `GET /v1/api`.
pub(crate) fn api(call: Call) -> ApiResult {
    let routes = ROUTES.iter().map(|route| ApiRoute {
        method: route.verb.as_str().to_owned(),
        path: route.path.to_owned(),
        max_body: route.body_max as u64,
        timeout: call.snapshot.setting(route).timeout.map_or(0, seconds),
    });
    response::json(&routes.collect::<Vec<_>>())
}
