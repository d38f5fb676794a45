//! Responds to the requests of a connection: finds the route of each and runs its layers.
//!
//! Requests on the data path ([`crate::http::route::Route::is_hot`]) do not pass axum's router. The layers
//! are functions, see [`crate::http::layer`].

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Extension;
use axum::http::{Method, Request, Response, Uri};
use axum::routing::any;
use futures_util::FutureExt as _;
use futures_util::future::Either;
use http_body_util::Either as EitherBody;
use hyper::body::Incoming;
use tower::Service as _;

use crate::connection::activity::{Activity, InFlight};
use crate::connection::peer::{Caller, Peer};
use crate::http::decoded_path::DecodedPath;
use crate::http::error::ApiError;
use crate::http::request::{Found, RequestContext};
use crate::http::request_body::{BodyLimits, RequestBody, Source};
use crate::http::response::{self, ApiResponse, SentBody};
use crate::http::route::ROUTES;
use crate::http::{head, layer};
use crate::state::app::App;

/// The body that hyper sends: of a handler, or wrapped by axum's router.
pub(crate) type HttpBody = EitherBody<SentBody, Body>;

/// Responds to the requests of one connection.
#[derive(Debug)]
pub(crate) struct ConnectionService {
    app: Arc<App>,
    router: Router,
    peer: Arc<Peer>,
    activity: Arc<Activity>,
    /// Whether each request is refused, because the connection limit of the identity is reached.
    is_refused: bool,
}

/// Builds axum's router of the routes that are not on the data path; on it, that router would cost 2 µs a request
/// (docs/performance.md).
pub(crate) fn router() -> Router {
    let cold = ROUTES.iter().filter(|route| !route.is_hot);
    cold.fold(Router::new(), |router, route| router.route(route.path, any(respond_routed)))
}

/// The value that is passed through the router to the handler of a route.
#[derive(Clone, Debug)]
struct Routed {
    request: RequestContext,
    activity: Arc<Activity>,
}

async fn respond_routed(Extension(routed): Extension<Routed>, body: Body) -> Response<Body> {
    let Routed { mut request, activity } = routed;
    let (in_flight, is_head) = (activity.begin(), request.method == Method::HEAD);
    let (app, body) = (Arc::clone(&request.app), Source::Right(body));
    let response = if request.route.route.is_change {
        let begin = |waiting| {
            request.waiting = waiting;
            layer::respond(request, body)
        };
        app.changes.run(begin).await.unwrap_or_else(|error| response::of_error(&error))
    } else {
        layer::respond(request, body).await
    };
    sent(response, in_flight, is_head).map(Body::new)
}

/// Converts a response for hyper. The request is in flight until the response is written.
fn sent(mut response: ApiResponse, in_flight: InFlight, is_head: bool) -> Response<SentBody> {
    if is_head {
        response::remove_body(&mut response);
    }
    response.map(|body| SentBody::new(body, in_flight))
}

impl ConnectionService {
    pub(crate) fn new(
        app: Arc<App>,
        router: Router,
        peer: Peer,
        activity: Arc<Activity>,
        is_refused: bool,
    ) -> Arc<Self> {
        Arc::new(Self { app, router, peer: Arc::new(peer), activity, is_refused })
    }

    /// Responds to a request. It evaluates the head before it creates the future, so that the future stays
    /// small: there is one for each request.
    pub(crate) fn respond(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<HttpBody>, Infallible>> + Send + use<> {
        let in_flight = self.activity.begin();
        let is_head = request.method() == Method::HEAD;
        let found = match self.path(&request) {
            Ok(path) => Found::new(&self.app, path),
            Err(error) => {
                let response = sent(response::of_error(&error), in_flight, is_head);
                return Either::Right(Either::Left(ready(Ok(response.map(EitherBody::Left)))));
            }
        };
        let caller = found.as_ref().ok().and_then(|found| self.peer.caller(&found.snapshot));
        match (found, caller) {
            // The data path: no router and no boxed future (docs/performance.md).
            (Ok(found), Some(caller)) if found.route.route.is_hot => {
                let (head, body) = request.into_parts();
                let request =
                    RequestContext::new(&self.app, &self.peer, found, head.method, caller);
                let response = layer::respond(request, Source::Left(body));
                Either::Left(response.map(move |response| {
                    Ok(sent(response, in_flight, is_head).map(EitherBody::Left))
                }))
            }
            (found, caller) => {
                let cold = Arc::clone(self).respond_cold(found, caller, request);
                let response = async move {
                    match cold.await {
                        Either::Left(response) => {
                            sent(response, in_flight, is_head).map(EitherBody::Left)
                        }
                        Either::Right(response) => response.map(EitherBody::Right),
                    }
                };
                Either::Right(Either::Right(Box::pin(response.map(Ok))))
            }
        }
    }

    /// Returns the decoded path of a request, or the error if the request is refused before its route is found.
    fn path(&self, request: &Request<Incoming>) -> Result<DecodedPath, ApiError> {
        if self.is_refused {
            return Err(ApiError::too_many_connections());
        }
        head::check(request)?;
        DecodedPath::parse(request.uri())
    }

    /// Responds to a request that has no route, that a TLS proxy forwards, or whose route is not on the data
    /// path. The response of such a route has been converted for hyper.
    async fn respond_cold(
        self: Arc<Self>,
        found: Result<Found, ApiError>,
        caller: Option<Caller>,
        request: Request<Incoming>,
    ) -> Either<ApiResponse, Response<Body>> {
        let (head, body) = request.into_parts();
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let rate = self.app.limits.body_rate;
                let limits =
                    BodyLimits { bytes_max: 0, rate, peer: Arc::clone(&self.peer), client: None };
                RequestBody::new(Source::Left(body), limits).discard().await;
                return Either::Left(response::of_error(&error));
            }
        };
        let caller =
            caller.unwrap_or_else(|| self.peer.forwarded_caller(&found.snapshot, &head.headers));
        let route = found.route.route;
        let request = RequestContext::new(&self.app, &self.peer, found, head.method, caller);
        // Headers are not used from here on; their memory is freed before a slow body is read.
        drop(head.headers);
        if route.is_hot {
            return Either::Left(layer::respond(request, Source::Left(body)).await);
        }
        let routed = Routed { request, activity: Arc::clone(&self.activity) };
        let mut request = Request::new(Body::new(body));
        *request.uri_mut() = Uri::from_static(route.path);
        request.extensions_mut().insert(routed);
        let Ok(response) = self.router.clone().call(request).await;
        Either::Right(response)
    }
}
