//! The one route table. It builds the router, answers `/v1/api` and drives the tests.

use std::time::Duration;

use axum::http::Method;
use futures_util::future::BoxFuture;
use kes_types::path;
use kes_types::wire::message;

use crate::http::error::{ApiResult, StoreOperation};
use crate::http::handler::{Call, identity, key, log, policy, status};
use crate::http::page;
use crate::http::request_body::RequestBody;

/// A route: what it is called by, its limits, who may call it and who answers.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) verb: Verb,
    /// The path; one that ends in `/` is followed by a name or a pattern.
    pub(crate) path: &'static str,
    /// The longest body in bytes; 0 means that a body is ignored.
    pub(crate) body_max: usize,
    /// Memory in bytes for the longest answer, where it does not follow from the body: held before the
    /// answer is made.
    pub(crate) answer_max: usize,
    /// The longest time to an answer; none for endless answers.
    pub(crate) timeout: Option<Duration>,
    pub(crate) access: Access,
    /// The message of a 504 when the timeout is reached.
    pub(crate) failed: &'static str,
    /// Whether `kes_http_*` metrics count the route.
    pub(crate) is_measured: bool,
    /// Whether it creates, imports or deletes a key: such requests are in the audit log by default.
    pub(crate) is_change: bool,
    /// Whether it is called all the time, so that the router's share of a request counts.
    pub(crate) is_hot: bool,
    pub(crate) handle: Handle,
}

/// Answers a call. The body is the caller's, so that what a handler leaves can be discarded.
pub(crate) type Handle = for<'a> fn(Call, &'a mut RequestBody) -> BoxFuture<'a, ApiResult>;

/// The methods of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    /// `PUT`, and `POST` as well.
    Put,
    Delete,
}

impl Verb {
    pub(crate) fn accepts(self, method: &Method) -> bool {
        match self {
            Self::Get => method == Method::GET,
            Self::Put => method == Method::PUT || method == Method::POST,
            Self::Delete => method == Method::DELETE,
        }
    }

    /// The `Allow` header.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT, POST",
            Self::Delete => "DELETE",
        }
    }

    /// The method as `/v1/api` tells it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody who gets through the handshake.
    Open,
    /// Whoever shows a certificate.
    Certificate,
    /// Whom a policy allows, and the admin.
    Policy,
}

const BODY_MAX: usize = 1 << 20;
const SHORT: Option<Duration> = Some(Duration::from_secs(10));
const NORMAL: Option<Duration> = Some(Duration::from_secs(15));

const READ: &str = StoreOperation::Read.failed();
const NO_ANSWER: &str = "request timed out";

impl Route {
    const fn get(path: &'static str, timeout: Option<Duration>, handle: Handle) -> Self {
        Self {
            verb: Verb::Get,
            path,
            body_max: 0,
            answer_max: 0,
            timeout,
            access: Access::Policy,
            failed: NO_ANSWER,
            is_measured: false,
            is_change: false,
            is_hot: false,
            handle,
        }
    }

    const fn put(path: &'static str, body_max: usize, handle: Handle) -> Self {
        Self {
            verb: Verb::Put,
            body_max,
            failed: READ,
            is_measured: true,
            ..Self::get(path, NORMAL, handle)
        }
    }

    const fn measured(self) -> Self {
        Self { is_measured: true, ..self }
    }

    const fn change(self) -> Self {
        Self { is_change: true, ..self }
    }

    /// A list: its names, and the text that is made of them.
    const fn listing(self) -> Self {
        Self { answer_max: 2 * page::BODY_LEN_MAX, ..self }
    }

    const fn hot_one(self) -> Self {
        Self { is_hot: true, ..self }
    }

    const fn failing_with(self, failed: &'static str) -> Self {
        Self { failed, ..self }
    }

    const fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The hot route of a decoded path; others are the router's to find, which finds the same for
    /// these.
    pub(crate) fn hot(path: &str) -> Option<&'static Self> {
        ROUTES.iter().filter(|route| route.is_hot).find(|route| {
            path.strip_prefix(route.path)
                .is_some_and(|argument| argument.is_empty() || route.path.ends_with('/'))
        })
    }

    /// What follows the route's path: a name, an identity, a pattern.
    pub(crate) fn argument_of<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(self.path).unwrap_or("")
    }

    /// The path of a list route without its last slash, by which it can be called too.
    pub(crate) fn bare_list_path(&self) -> Option<&'static str> {
        self.path.strip_suffix('/').filter(|path| path.ends_with("/list"))
    }

    /// The paths that the router knows the route by.
    pub(crate) fn router_paths(&self) -> Vec<String> {
        let mut paths = vec![self.path.to_owned()];
        if self.path.ends_with('/') {
            paths.push(format!("{}{{*argument}}", self.path));
        }
        paths.extend(self.bare_list_path().map(ToOwned::to_owned));
        paths
    }
}

/// Every route of the API.
pub(crate) static ROUTES: &[Route] = &[
    Route::get(path::VERSION, SHORT, |call, _| Box::pin(async { status::version(call) }))
        .access(Access::Open),
    Route::get(path::READY, NORMAL, |call, _| Box::pin(status::ready(call)))
        .failing_with(message::STORE_UNREACHABLE)
        .hot_one(),
    Route::get(path::STATUS, NORMAL, |call, _| Box::pin(status::status(call)))
        .failing_with(message::STORE_UNREACHABLE)
        .hot_one(),
    Route::get(path::METRICS, NORMAL, |call, _| Box::pin(async { status::metrics(call) })),
    Route::get(path::API, SHORT, |call, _| Box::pin(async { status::api(call) })),
    Route::put(path::KEY_CREATE, 0, |call, _| Box::pin(key::create(call)))
        .failing_with(StoreOperation::Create.failed())
        .change(),
    Route::put(path::KEY_IMPORT, BODY_MAX, |call, body| Box::pin(key::import(call, body)))
        .failing_with(StoreOperation::Create.failed())
        .change(),
    Route::get(path::KEY_DESCRIBE, NORMAL, |call, _| Box::pin(key::describe(call)))
        .failing_with(READ)
        .measured(),
    Route::get(path::KEY_LIST, NORMAL, |call, _| Box::pin(key::list(call)))
        .failing_with(StoreOperation::List.failed())
        .listing()
        .measured(),
    Route {
        verb: Verb::Delete,
        ..Route::get(path::KEY_DELETE, NORMAL, |call, _| Box::pin(key::delete(call)))
    }
    .failing_with(StoreOperation::Delete.failed())
    .measured()
    .change(),
    Route::put(path::KEY_GENERATE, BODY_MAX, |call, body| Box::pin(key::generate(call, body)))
        .hot_one(),
    Route::put(path::KEY_ENCRYPT, BODY_MAX, |call, body| Box::pin(key::encrypt(call, body)))
        .hot_one(),
    Route::put(path::KEY_DECRYPT, BODY_MAX, |call, body| Box::pin(key::decrypt(call, body)))
        .hot_one(),
    Route::put(path::KEY_HMAC, BODY_MAX, |call, body| Box::pin(key::hmac(call, body))),
    Route::get(path::POLICY_DESCRIBE, NORMAL, |call, _| Box::pin(async { policy::describe(call) }))
        .measured(),
    Route::get(path::POLICY_READ, NORMAL, |call, _| Box::pin(async { policy::read(call) }))
        .listing()
        .measured(),
    Route::get(path::POLICY_LIST, NORMAL, |call, _| Box::pin(async { policy::list(call) }))
        .listing()
        .measured(),
    Route::get(path::IDENTITY_DESCRIBE, NORMAL, |call, _| {
        Box::pin(async { identity::describe(call) })
    })
    .measured(),
    Route::get(path::IDENTITY_LIST, NORMAL, |call, _| Box::pin(async { identity::list(call) }))
        .listing()
        .measured(),
    Route::get(path::IDENTITY_SELF, NORMAL, |call, _| Box::pin(async { identity::own(call) }))
        .access(Access::Certificate)
        .listing()
        .measured(),
    Route::get(path::LOG_ERROR, None, |call, _| Box::pin(async { log::error(call) })),
    Route::get(path::LOG_AUDIT, None, |call, _| Box::pin(async { log::audit(call) })),
];

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::{Request, Uri};
    use axum::routing::any;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::decoded_path::DecodedPath;

    #[test]
    fn paths_are_unique_and_list_routes_answer_without_their_slash() {
        let mut paths: Vec<_> = ROUTES.iter().flat_map(Route::router_paths).collect();
        assert!(paths.contains(&"/v1/key/list".to_owned()));
        paths.sort();
        let count = paths.len();
        paths.dedup();
        assert_eq!(paths.len(), count);
    }

    #[test]
    fn every_path_of_the_api_has_its_route_and_the_configuration_knows_it() {
        let mut routes: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
        let mut known = path::ALL.to_vec();
        routes.sort_unstable();
        known.sort_unstable();
        assert_eq!(routes, known);
    }

    #[tokio::test]
    async fn a_hot_route_is_the_one_that_the_router_finds() {
        let mut router = Router::new();
        for route in ROUTES {
            for path in route.router_paths() {
                router = router.route(&path, any(move || async { route.path }));
            }
        }
        let router = router.fallback(|| async { "" });
        let ends = [
            "", "/", "a", "a/", "a/b", "a/b/", "*", "%2F", "a%2Fb", "%25", "/a", "?q=/a", "%C3%A4",
        ];
        let starts = ROUTES.iter().flat_map(Route::router_paths);
        for start in starts.filter(|path| !path.contains('{')).chain(["/".to_owned()]) {
            for end in ends {
                let mut uri: Uri = format!("{start}{end}").parse().unwrap();
                let Ok(target) = DecodedPath::parse(&uri) else { continue };
                target.apply_to(&mut uri).unwrap();
                let request = Request::builder().uri(uri.clone()).body(Body::empty()).unwrap();
                let found = router.clone().oneshot(request).await.unwrap().into_body();
                let found = axum::body::to_bytes(found, 100).await.unwrap();
                let named = ROUTES.iter().find(|route| *route.path.as_bytes() == *found);
                let hot = Route::hot(target.as_str()).map(|route| route.path);
                let expected = named.filter(|route| route.is_hot).map(|route| route.path);
                assert_eq!(hot, expected, "{uri}");
            }
        }
    }

    #[test]
    fn routes_that_create_import_or_delete_keys_are_changes() {
        let changes = ROUTES.iter().filter(|route| route.is_change).map(|route| route.path);
        let expected = [path::KEY_CREATE, path::KEY_IMPORT, path::KEY_DELETE];
        assert_eq!(changes.collect::<Vec<_>>(), expected);
        // Those that are found without the router do not run in a task of their own.
        assert!(!ROUTES.iter().any(|route| route.is_change && route.is_hot));
    }

    #[test]
    fn only_log_streams_have_no_timeout() {
        for route in ROUTES {
            assert_eq!(
                route.timeout.is_none(),
                route.path.starts_with("/v1/log/"),
                "{}",
                route.path
            );
        }
    }
}
