//! From a parsed request to its handler and back: the layer stack, read top to bottom.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, Response};
use axum::routing::any;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use hyper::body::Incoming;
use tower::Service as _;

use crate::app::App;
use crate::body::{self, Answer, AnswerBody, RequestBody, SentBody, Source};
use crate::changes::Waiting;
use crate::error::ApiError;
use crate::handler::Call;
use crate::idle::Activity;
use crate::layer::trace::{self, Trace};
use crate::layer::{audit, authorize, limit, panic};
use crate::live::Snapshot;
use crate::log::Streaming;
use crate::peer::{Caller, Peer};
use crate::route::{ROUTES, Route};
use crate::target::Target;

/// Builds the router from the route table.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        for path in route.router_paths() {
            let handler = move |State(app): State<Arc<App>>, request: Request| async move {
                routed(&app, route, request).await.map(Body::new)
            };
            router = router.route(&path, any(handler));
        }
    }
    router.fallback(no_such_route).with_state(app)
}

/// Where the requests of a connection enter.
#[derive(Debug)]
pub(crate) struct Front {
    app: Arc<App>,
    router: Router,
    peer: Arc<Peer>,
    activity: Arc<Activity>,
}

impl Front {
    pub(crate) fn new(
        app: Arc<App>,
        router: Router,
        peer: Peer,
        activity: Arc<Activity>,
    ) -> Arc<Self> {
        Arc::new(Self { app, router, peer: Arc::new(peer), activity })
    }

    /// Takes a request off the connection. What it needs of the request's head is taken at once, so
    /// that the future, of which there is one a request, stays small.
    pub(crate) fn answer(
        self: &Arc<Self>,
        request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Result<Response<SentBody>, Infallible>> + Send + use<> {
        let in_flight = self.activity.begin();
        let is_head = request.method() == Method::HEAD;
        self.routed(request).map(move |mut response| {
            if is_head {
                body::withhold(&mut response);
            }
            let in_flight = match response.extensions().get::<Streaming>() {
                Some(Streaming) => in_flight.into_stream(),
                None => in_flight,
            };
            Ok(response.map(|body| SentBody::new(body, in_flight)))
        })
    }

    /// Decodes the path, once, then finds the route. Those that every object read or written goes
    /// through are found without the router.
    fn routed(
        self: &Arc<Self>,
        request: hyper::Request<Incoming>,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let target = match Target::parse(request.uri()) {
            Ok(target) => target,
            Err(error) => return Either::Right(Either::Left(ready(error.to_response()))),
        };
        // To read a forwarded certificate is work that belongs into the request's own future.
        let snapshot = self.app.live.load();
        let is_forwarded = self.peer.forwards(&snapshot);
        let Some(route) = Route::hot(target.as_str()).filter(|_| !is_forwarded) else {
            return Either::Right(Either::Right(Arc::clone(self).by_router(target, request)));
        };
        let (head, body) = request.into_parts();
        let body = Source::Left(body);
        // A hot route is no change.
        let waiting = Waiting::default();
        Either::Left(serve(&self.app, snapshot, route, &self.peer, target, (&head, body), waiting))
    }

    fn by_router(
        self: Arc<Self>,
        target: Target,
        mut request: hyper::Request<Incoming>,
    ) -> BoxFuture<'static, Answer> {
        Box::pin(async move {
            if let Err(error) = target.apply_to(request.uri_mut()) {
                return error.to_response();
            }
            request.extensions_mut().insert(Arrival { peer: Arc::clone(&self.peer), target });
            let Ok(response) = self.router.clone().call(request.map(Body::new)).await;
            response.map(AnswerBody::Right)
        })
    }
}

/// Where a request came from and where it goes.
#[derive(Clone, Debug)]
struct Arrival {
    peer: Arc<Peer>,
    target: Target,
}

/// Answers a request that came through the router.
async fn routed(app: &Arc<App>, route: &'static Route, request: Request) -> Answer {
    let (mut parts, body) = request.into_parts();
    match parts.extensions.remove::<Arrival>() {
        Some(Arrival { peer, target }) => {
            let (snapshot, body) = (app.live.load(), Source::Right(body));
            let answer =
                |waiting| serve(app, snapshot, route, &peer, target, (&parts, body), waiting);
            if route.is_change {
                app.changes.run(answer).await
            } else {
                answer(Waiting::default()).await
            }
        }
        None => ApiError::internal(Unaddressed).to_response(),
    }
}

/// Answers a request whose route is known.
fn serve(
    app: &Arc<App>,
    snapshot: Arc<Snapshot>,
    route: &'static Route,
    peer: &Peer,
    target: Target,
    (head, body): (&Parts, Source),
    waiting: Waiting,
) -> impl Future<Output = Answer> + Send + use<> {
    let caller = peer.caller(&snapshot, &head.headers);
    let trace = trace::begin(app, &head.method, target, &caller, waiting);
    let body = RequestBody::new(body, route.body_max, app.bodies.clone());
    // Nothing below looks at headers: but for its path, the head does not wait with a slow body.
    through_layers(Arc::clone(app), snapshot, route, caller, trace, body)
}

/// The layer stack, outermost first.
#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
fn through_layers(
    app: Arc<App>,
    snapshot: Arc<Snapshot>,
    route: &'static Route,
    caller: Caller,
    trace: Trace,
    mut body: RequestBody,
) -> impl Future<Output = Answer> + Send {
    async move {
        let metrics = app.metrics.begin(route);
        let audit = audit::begin(&app, &trace, &snapshot, route, &caller);
        let setting = snapshot.setting(route);
        let outcome = {
            let work = pin!(async {
                if !route.verb.accepts(trace.method()) {
                    return Err(ApiError::method_not_allowed(route.verb.allow()));
                }
                let target = trace.target().clone();
                let (access, refusals) = (setting.access, &app.refusals);
                let permit =
                    authorize::permit(refusals, &snapshot, access, route, &target, &caller)?;
                let (app, id) = (Arc::clone(&app), trace.id());
                let call = Call { app, snapshot, permit, caller, target, route, id };
                panic::guard((route.handle)(call, &mut body)).await
            });
            limit::within(setting.timeout, route.failed, work).await
        };
        let outcome = match outcome {
            Err(error) if error.is_timeout() && body.is_awaited() => Err(error.waiting_for_body()),
            outcome => outcome,
        };
        if !matches!(&outcome, Err(error) if error.is_timeout()) {
            body.discard().await;
        }

        let response = trace.finish(outcome, &app.failures);
        let (status, taken) = (response.status(), trace.taken(&*app.clock));
        audit.finish(status, taken).await;
        metrics.finish(status, taken);
        response
    }
}

async fn no_such_route(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    let body = Source::Right(request.into_body());
    RequestBody::new(body, 0, app.bodies.clone()).discard().await;
    ApiError::no_such_route().to_response().map(Body::new)
}

/// A request reached the router without passing [`Front`].
#[derive(Debug, thiserror::Error)]
#[error("the request has no arrival")]
struct Unaddressed;
