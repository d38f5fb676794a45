//! From a parsed request to its handler and back: the layer stack, read top to bottom.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use hyper::body::Incoming;
use tower::Service as _;

use crate::app::App;
use crate::body::{RequestBody, SentBody};
use crate::error::ApiError;
use crate::handler::Call;
use crate::idle::Activity;
use crate::layer::{audit, authorize, limit, panic, trace};
use crate::log::Streaming;
use crate::peer::Peer;
use crate::route::{ROUTES, Route};
use crate::target::Target;

/// Builds the router from the route table.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        for path in route.router_paths() {
            let handler = move |State(app): State<Arc<App>>, request: Request| async move {
                serve(&app, route, request).await
            };
            router = router.route(&path, any(handler));
        }
    }
    router.fallback(no_such_route).with_state(app)
}

/// Takes a request off a connection: decodes its path once, then routes it.
pub(crate) async fn front(
    mut router: Router,
    peer: Arc<Peer>,
    activity: Arc<Activity>,
    request: hyper::Request<Incoming>,
) -> Result<axum::http::Response<SentBody>, Infallible> {
    let in_flight = activity.begin();
    let mut request = request.map(Body::new);
    let parsed = Target::parse(request.uri()).and_then(|target| {
        target.apply_to(request.uri_mut())?;
        Ok(target)
    });
    let response = match parsed {
        Ok(target) => {
            request.extensions_mut().insert(Arrival { peer, target });
            router.call(request).await?
        }
        Err(error) => error.to_response(),
    };
    let in_flight = match response.extensions().get::<Streaming>() {
        Some(Streaming) => in_flight.into_stream(),
        None => in_flight,
    };
    Ok(response.map(|body| SentBody::new(body, in_flight)))
}

/// Where a request came from and where it goes.
#[derive(Clone, Debug)]
struct Arrival {
    peer: Arc<Peer>,
    target: Target,
}

/// Answers a routed request.
async fn serve(app: &Arc<App>, route: &'static Route, request: Request) -> Response {
    let snapshot = app.live.load();
    let (mut parts, body) = request.into_parts();
    let Some(Arrival { peer, target }) = parts.extensions.remove::<Arrival>() else {
        return ApiError::internal(Unaddressed).to_response();
    };
    let caller = peer.caller(&snapshot, &parts.headers);
    // Nothing below looks at headers; they do not wait with a slow body.
    let method = parts.method.clone();
    drop(parts);
    let mut body = RequestBody::new(body, route.body_max, app.bodies.clone());

    let trace = trace::begin(app, &method, &target, &caller);
    let metrics = app.metrics.begin(route);
    let audit = audit::begin(app, &trace, &snapshot, route, &caller);
    let id = trace.id();
    let setting = snapshot.setting(route);
    let outcome = limit::within(setting.timeout, route.failed, async {
        if !route.verb.accepts(&method) {
            return Err(ApiError::method_not_allowed(route.verb.allow()));
        }
        let permit = authorize::permit(&snapshot, setting.access, route, &target, &caller)?;
        let call = Call { app: Arc::clone(app), snapshot, permit, caller, target, route, id };
        panic::guard((route.handle)(call, &mut body)).await
    })
    .await;
    let outcome = match outcome {
        Err(error) if error.is_timeout() && body.is_awaited() => Err(error.waiting_for_body()),
        outcome => outcome,
    };
    if !matches!(&outcome, Err(error) if error.is_timeout()) {
        body.discard().await;
    }

    let response = trace.finish(outcome);
    audit.finish(response.status()).await;
    metrics.finish(response.status());
    response
}

async fn no_such_route(State(app): State<Arc<App>>, request: Request) -> Response {
    let mut body = RequestBody::new(request.into_body(), 0, app.bodies.clone());
    body.discard().await;
    ApiError::no_such_route().to_response()
}

/// A request reached the router without passing [`front`].
#[derive(Debug, thiserror::Error)]
#[error("the request has no arrival")]
struct Unaddressed;
