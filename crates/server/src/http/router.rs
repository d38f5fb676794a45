//! From a parsed request to its handler and back: the layer stack, read top to bottom.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, Response};
use axum::routing::any;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use hyper::body::Incoming;
use kes_types::Identity;
use tokio::time::Instant;
use tower::Service as _;

use crate::connection::activity::Activity;
use crate::connection::peer::{Caller, Peer};
use crate::http::decoded_path::DecodedPath;
use crate::http::error::ApiError;
use crate::http::handler::Call;
use crate::http::head;
use crate::http::layer::trace::{self, Trace};
use crate::http::layer::{audit, authorize, limit, panic};
use crate::http::request_body::{BodyLimits, RequestBody, Source, Waits};
use crate::http::response::{self, ApiResponse, SentBody};
use crate::http::route::{ROUTES, Route};
use crate::limit::accounts::RequestSlot;
use crate::limit::budget::SMALL_LEN;
use crate::state::app::App;
use crate::state::changes::Waiting;
use crate::state::snapshot::Snapshot;

/// Builds the router from the route table.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        for path in route.router_paths() {
            let handler = move |State(app): State<Arc<App>>, request: Request| async move {
                routed(&app, Some(route), request).await
            };
            router = router.route(&path, any(handler));
        }
    }
    let no_route = |State(app): State<Arc<App>>, request: Request| async move {
        routed(&app, None, request).await
    };
    router.fallback(no_route).with_state(app)
}

/// Where the requests of a connection enter.
#[derive(Debug)]
pub(crate) struct Front {
    app: Arc<App>,
    router: Router,
    peer: Arc<Peer>,
    activity: Arc<Activity>,
    /// The identity holds more connections than it may: this one is answered nothing else.
    is_refused: bool,
}

impl Front {
    pub(crate) fn new(
        app: Arc<App>,
        router: Router,
        peer: Peer,
        activity: Arc<Activity>,
        is_refused: bool,
    ) -> Arc<Self> {
        Arc::new(Self { app, router, peer: Arc::new(peer), activity, is_refused })
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
                response::withhold(&mut response);
            }
            Ok(response.map(|body| SentBody::new(body, in_flight)))
        })
    }

    /// Decodes the path, once, then finds the route. Those that every object read or written goes
    /// through are found without the router.
    fn routed(
        self: &Arc<Self>,
        request: hyper::Request<Incoming>,
    ) -> impl Future<Output = ApiResponse> + Send + use<> {
        let target = match self.target(&request) {
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

    /// Where a request goes, if it is to be looked at at all.
    fn target(&self, request: &hyper::Request<Incoming>) -> Result<DecodedPath, ApiError> {
        if self.is_refused {
            return Err(ApiError::too_many_connections());
        }
        head::check(request)?;
        DecodedPath::parse(request.uri())
    }

    fn by_router(
        self: Arc<Self>,
        target: DecodedPath,
        mut request: hyper::Request<Incoming>,
    ) -> BoxFuture<'static, ApiResponse> {
        Box::pin(async move {
            if let Err(error) = target.apply_to(request.uri_mut()) {
                return error.to_response();
            }
            let answer = Arc::new(Mutex::new(None));
            let (peer, to) = (Arc::clone(&self.peer), Arc::clone(&answer));
            request.extensions_mut().insert(Arrival { peer, target, answer: to });
            let Ok(response) = self.router.clone().call(request.map(Body::new)).await;
            let answer = lock(&answer).take();
            answer.unwrap_or_else(|| response.map(response::ResponseBody::Right))
        })
    }
}

/// Where a request came from, where it goes, and where its answer is left: as it is, not as a body
/// that only the router's own type knows.
#[derive(Clone, Debug)]
struct Arrival {
    peer: Arc<Peer>,
    target: DecodedPath,
    answer: Arc<Mutex<Option<ApiResponse>>>,
}

fn lock(answer: &Mutex<Option<ApiResponse>>) -> MutexGuard<'_, Option<ApiResponse>> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers a request that came through the router, and leaves the answer with its arrival.
async fn routed(app: &Arc<App>, route: Option<&'static Route>, request: Request) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let Some(Arrival { peer, target, answer }) = parts.extensions.remove::<Arrival>() else {
        tracing::error!("a request reached the router without passing its connection");
        return Response::new(Body::empty());
    };
    let (snapshot, body) = (app.live.load(), Source::Right(body));
    let given = if let Some(route) = route {
        let answer = |waiting| serve(app, snapshot, route, &peer, target, (&parts, body), waiting);
        if route.is_change {
            app.changes.run(answer).await
        } else {
            answer(Waiting::default()).await
        }
    } else {
        let limits = body_limits(app, 0, &peer, None);
        RequestBody::new(body, limits).discard().await;
        ApiError::no_such_route().to_response()
    };
    *lock(&answer) = Some(given);
    Response::new(Body::empty())
}

fn body_limits(
    app: &App,
    bytes_max: usize,
    peer: &Arc<Peer>,
    client: Option<Identity>,
) -> BodyLimits {
    BodyLimits { bytes_max, rate: app.limits.body_rate, peer: Arc::clone(peer), client }
}

/// Answers a request whose route is known.
fn serve(
    app: &Arc<App>,
    snapshot: Arc<Snapshot>,
    route: &'static Route,
    peer: &Arc<Peer>,
    target: DecodedPath,
    (head, body): (&Parts, Source),
    waiting: Waiting,
) -> impl Future<Output = ApiResponse> + Send + use<> {
    let mut caller = peer.caller(&snapshot, &head.headers);
    let trace = trace::begin(app, &head.method, target, &caller, waiting);
    let limits = body_limits(app, route.body_max, peer, caller.known_identity());
    let slot = app.accounts.begin(caller.account.take());
    let body = RequestBody::new(body, limits);
    // Nothing below looks at headers: but for its path, the head does not wait with a slow body.
    through_layers(Arc::clone(app), snapshot, route, caller, trace, body, slot)
}

/// Whether a request that was not answered in time is one of several that wait for their turn to call
/// the key store: its client asks for more than there is. What a change did is not known by then.
fn is_queued(app: &App, route: &Route, trace: &Trace) -> bool {
    let has_waiting = |identity| app.live.load().keyring.has_waiting(identity);
    !route.is_change && trace.identity().is_some_and(has_waiting)
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
    slot: Option<RequestSlot>,
) -> impl Future<Output = ApiResponse> + Send {
    async move {
        let metrics = app.metrics.begin(route);
        let audit = audit::begin(&app, &trace, &snapshot, route, &caller);
        let setting = snapshot.setting(route);
        let outcome = {
            let work = pin!(async {
                if !route.verb.accepts(trace.method()) {
                    return Err(ApiError::method_not_allowed(route.verb.allow()));
                }
                if slot.is_none() {
                    return Err(ApiError::too_many_requests());
                }
                let target = trace.target().clone();
                let (access, refusals) = (setting.access, &app.refusals);
                let permit =
                    authorize::permit(refusals, &snapshot, access, route, &target, &caller)?;
                if route.answer_max > SMALL_LEN {
                    body.reserve(route.answer_max).await?;
                }
                let (app, id) = (Arc::clone(&app), trace.id());
                let call = Call { app, snapshot, permit, caller, target, route, id };
                panic::guard((route.handle)(call, &mut body)).await
            });
            let begun = Instant::from_std(trace.begun());
            let outcome = limit::within(begun, setting.timeout, route.failed, work).await;
            match outcome {
                Err(error) if error.is_timeout() && is_queued(&app, route, &trace) => {
                    Err(ApiError::too_many_requests())
                }
                outcome => outcome,
            }
        };
        let outcome = match (outcome, body.waits()) {
            // The time went by for want of the body, or of a turn, and not of an answer.
            (Err(error), Waits::Body) if error.is_timeout() => Err(ApiError::body_too_slow()),
            (Err(error), Waits::Turn) if error.is_timeout() => Err(ApiError::too_many_requests()),
            (outcome, _) => outcome,
        };
        if !matches!(&outcome, Err(error) if error.is_timeout()) {
            body.discard().await;
        }

        let mut response = trace.finish(outcome, &app.failures);
        let ended = app.clock.monotonic();
        if let response::ResponseBody::Left(whole) = response.body_mut() {
            whole.hold(body.take_held(whole.len()), slot, Instant::from_std(ended));
        }
        drop(body);
        let status = response.status();
        let taken = ended.saturating_duration_since(trace.begun());
        audit.finish(status, taken).await;
        metrics.finish(status, taken);
        response
    }
}
