//! Defines the table of routes: the path, method, limits and access of each.
//!
//! [`crate::http::dispatch`] calls their handlers; [`crate::state::snapshot::Snapshot`] has their settings from
//! the configuration.

use std::time::Duration;

use axum::http::Method;
use kes_types::path;
use kes_types::wire::message;

use crate::http::error::StoreOperation;
use crate::http::page;

/// Describes a route of the API: its path, its limits and its access.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) id: RouteId,
    pub(crate) verb: Verb,
    /// The path; one that ends in `/` is followed by a name or a pattern.
    pub(crate) path: &'static str,
    /// The longest body in bytes; 0 means that a body is ignored.
    pub(crate) body_max: usize,
    /// Memory in bytes that is acquired before the handler runs, for a response whose length does not depend
    /// on the request body.
    pub(crate) response_max: usize,
    /// The longest time to a response, unless the configuration sets another one; `None` for streams.
    pub(crate) timeout: Option<Duration>,
    /// The callers that may use it, unless the configuration sets others.
    pub(crate) access: Access,
    /// The message of a 504 when the timeout is reached.
    pub(crate) failed: &'static str,
    /// Whether `kes_http_*` metrics count the route.
    pub(crate) is_measured: bool,
    /// Whether it creates, imports or deletes a key; such requests are in the audit log by default.
    pub(crate) is_change: bool,
    /// Whether it is on the data path: its requests are not sent through axum's router.
    pub(crate) is_hot: bool,
}

/// Identifies a route, and with it the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteId {
    Version,
    Ready,
    Status,
    Metrics,
    Api,
    KeyCreate,
    KeyImport,
    KeyDescribe,
    KeyList,
    KeyDelete,
    KeyGenerate,
    KeyEncrypt,
    KeyDecrypt,
    KeyHmac,
    PolicyDescribe,
    PolicyRead,
    PolicyList,
    IdentityDescribe,
    IdentityList,
    IdentitySelf,
    LogError,
    LogAudit,
}

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

    /// Returns the value of the `Allow` header.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT, POST",
            Self::Delete => "DELETE",
        }
    }

    /// Returns the method as in the response of `/v1/api`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// The callers that may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Every client that completes the TLS handshake.
    Open,
    /// Every client with a certificate.
    Certificate,
    /// Clients that a policy allows, and the admin.
    Policy,
}

const BODY_MAX: usize = 1 << 20;
const SHORT: Option<Duration> = Some(Duration::from_secs(10));
const NORMAL: Option<Duration> = Some(Duration::from_secs(15));

const READ: &str = StoreOperation::Read.failed();
const TIMED_OUT: &str = "request timed out";

impl Route {
    const fn get(id: RouteId, path: &'static str) -> Self {
        Self {
            id,
            verb: Verb::Get,
            path,
            body_max: 0,
            response_max: 0,
            timeout: NORMAL,
            access: Access::Policy,
            failed: TIMED_OUT,
            is_measured: false,
            is_change: false,
            is_hot: false,
        }
    }

    const fn put(id: RouteId, path: &'static str, body_max: usize) -> Self {
        let route = Self::get(id, path);
        Self { verb: Verb::Put, body_max, failed: READ, is_measured: true, ..route }
    }

    const fn measured(self) -> Self {
        Self { is_measured: true, ..self }
    }

    const fn change(self) -> Self {
        Self { is_change: true, ..self }
    }

    /// The response is a listing: memory is held for its names and for their JSON.
    const fn listing(self) -> Self {
        Self { response_max: 2 * page::BODY_LEN_MAX, ..self }
    }

    const fn hot(self) -> Self {
        Self { is_hot: true, ..self }
    }

    const fn failing_with(self, failed: &'static str) -> Self {
        Self { failed, ..self }
    }

    const fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    const fn timeout(self, timeout: Option<Duration>) -> Self {
        Self { timeout, ..self }
    }

    /// Returns the argument of a percent-decoded path, if the path belongs to this route: the part after the
    /// route's path, slashes included. It is a name, an identity or a pattern.
    pub(crate) fn argument_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(self.path) {
            Some(argument) if argument.is_empty() || self.path.ends_with('/') => Some(argument),
            None if self.bare_list_path() == Some(path) => Some(""),
            _ => None,
        }
    }

    /// Returns the path of a list route without its last slash, by which it can be called as well.
    pub(crate) fn bare_list_path(&self) -> Option<&'static str> {
        self.path.strip_suffix('/').filter(|path| path.ends_with("/list"))
    }
}

/// Lists every route of the API, in the order of `/v1/api`.
pub(crate) static ROUTES: &[Route] = &[
    Route::get(RouteId::Version, path::VERSION).timeout(SHORT).access(Access::Open),
    Route::get(RouteId::Ready, path::READY).failing_with(message::STORE_UNREACHABLE).hot(),
    Route::get(RouteId::Status, path::STATUS).failing_with(message::STORE_UNREACHABLE).hot(),
    Route::get(RouteId::Metrics, path::METRICS),
    Route::get(RouteId::Api, path::API).timeout(SHORT),
    Route::put(RouteId::KeyCreate, path::KEY_CREATE, 0)
        .failing_with(StoreOperation::Create.failed())
        .change(),
    Route::put(RouteId::KeyImport, path::KEY_IMPORT, BODY_MAX)
        .failing_with(StoreOperation::Create.failed())
        .change(),
    Route::get(RouteId::KeyDescribe, path::KEY_DESCRIBE).failing_with(READ).measured(),
    Route::get(RouteId::KeyList, path::KEY_LIST)
        .failing_with(StoreOperation::List.failed())
        .listing()
        .measured(),
    Route { verb: Verb::Delete, ..Route::get(RouteId::KeyDelete, path::KEY_DELETE) }
        .failing_with(StoreOperation::Delete.failed())
        .measured()
        .change(),
    Route::put(RouteId::KeyGenerate, path::KEY_GENERATE, BODY_MAX).hot(),
    Route::put(RouteId::KeyEncrypt, path::KEY_ENCRYPT, BODY_MAX).hot(),
    Route::put(RouteId::KeyDecrypt, path::KEY_DECRYPT, BODY_MAX).hot(),
    Route::put(RouteId::KeyHmac, path::KEY_HMAC, BODY_MAX),
    Route::get(RouteId::PolicyDescribe, path::POLICY_DESCRIBE).measured(),
    Route::get(RouteId::PolicyRead, path::POLICY_READ).listing().measured(),
    Route::get(RouteId::PolicyList, path::POLICY_LIST).listing().measured(),
    Route::get(RouteId::IdentityDescribe, path::IDENTITY_DESCRIBE).measured(),
    Route::get(RouteId::IdentityList, path::IDENTITY_LIST).listing().measured(),
    Route::get(RouteId::IdentitySelf, path::IDENTITY_SELF)
        .access(Access::Certificate)
        .listing()
        .measured(),
    Route::get(RouteId::LogError, path::LOG_ERROR).timeout(None),
    Route::get(RouteId::LogAudit, path::LOG_AUDIT).timeout(None),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the route of a path and its argument.
    fn find(path: &str) -> Option<(RouteId, &str)> {
        ROUTES.iter().find_map(|route| Some((route.id, route.argument_of(path)?)))
    }

    #[test]
    fn each_path_is_that_of_one_route() {
        for route in ROUTES {
            for path in [Some(route.path), route.bare_list_path()].into_iter().flatten() {
                let found = ROUTES.iter().filter(|route| route.argument_of(path).is_some());
                assert_eq!(found.map(|route| route.id).collect::<Vec<_>>(), [route.id], "{path}");
            }
            assert_eq!(ROUTES.iter().filter(|other| other.id == route.id).count(), 1);
        }
    }

    #[test]
    fn a_path_has_its_route_and_argument_or_none() {
        assert_eq!(find("/v1/status"), Some((RouteId::Status, "")));
        assert_eq!(find("/v1/key/create/"), Some((RouteId::KeyCreate, "")));
        assert_eq!(find("/v1/key/create/a"), Some((RouteId::KeyCreate, "a")));
        assert_eq!(find("/v1/key/create/a/b/"), Some((RouteId::KeyCreate, "a/b/")));
        assert_eq!(find("/v1/key/decrypt/ä"), Some((RouteId::KeyDecrypt, "ä")));
        assert_eq!(find("/v1/key/list"), Some((RouteId::KeyList, "")));
        assert_eq!(find("/v1/key/list/"), Some((RouteId::KeyList, "")));
        assert_eq!(find("/v1/key/list/a*"), Some((RouteId::KeyList, "a*")));
        for path in
            ["/", "", "/v1/status/", "/v1/statusx", "/v1/key/create", "/v1/key/listx", "/v1"]
        {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn every_path_of_the_api_has_its_route_and_the_configuration_knows_it() {
        let mut routes: Vec<_> = ROUTES.iter().map(|route| route.path).collect();
        let mut known = path::ALL.to_vec();
        routes.sort_unstable();
        known.sort_unstable();
        assert_eq!(routes, known);
    }

    #[test]
    fn routes_that_create_import_or_delete_keys_are_changes() {
        let changes = ROUTES.iter().filter(|route| route.is_change).map(|route| route.path);
        let expected = [path::KEY_CREATE, path::KEY_IMPORT, path::KEY_DELETE];
        assert_eq!(changes.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn only_log_streams_have_no_timeout() {
        for route in ROUTES {
            let is_stream = route.path.starts_with("/v1/log/");
            assert_eq!(route.timeout.is_none(), is_stream, "{}", route.path);
        }
    }
}
