//! Calls the handler of a request's route.

use futures_util::future::BoxFuture;
use kes_policy::Permit;

use crate::http::handler::{identity, key, log, policy, status};
use crate::http::request::RequestContext;
use crate::http::request_body::RequestBody;
use crate::http::response::ApiResult;
use crate::http::route::RouteId;

/// Calls the handler of the request's route. The handler borrows the body, so that the caller can discard the
/// unread bytes.
pub(crate) fn dispatch<'a>(
    request: &'a RequestContext,
    permit: &'a Permit,
    body: &'a mut RequestBody,
) -> BoxFuture<'a, ApiResult> {
    match request.route.route.id {
        RouteId::Version => Box::pin(async { status::version(request) }),
        RouteId::Ready => Box::pin(status::ready(request)),
        RouteId::Status => Box::pin(status::status(request)),
        RouteId::Metrics => Box::pin(async { status::metrics(request) }),
        RouteId::Api => Box::pin(async { status::api(request) }),
        RouteId::KeyCreate => Box::pin(key::create(request, permit)),
        RouteId::KeyImport => Box::pin(key::import(request, permit, body)),
        RouteId::KeyDescribe => Box::pin(key::describe(request, permit)),
        RouteId::KeyList => Box::pin(key::list(request, permit)),
        RouteId::KeyDelete => Box::pin(key::delete(request, permit)),
        RouteId::KeyGenerate => Box::pin(key::generate(request, permit, body)),
        RouteId::KeyEncrypt => Box::pin(key::encrypt(request, permit, body)),
        RouteId::KeyDecrypt => Box::pin(key::decrypt(request, permit, body)),
        RouteId::KeyHmac => Box::pin(key::hmac(request, permit, body)),
        RouteId::PolicyDescribe => Box::pin(async { policy::describe(request) }),
        RouteId::PolicyRead => Box::pin(async { policy::read(request) }),
        RouteId::PolicyList => Box::pin(async { policy::list(request) }),
        RouteId::IdentityDescribe => Box::pin(async { identity::describe(request) }),
        RouteId::IdentityList => Box::pin(async { identity::list(request) }),
        RouteId::IdentitySelf => Box::pin(async { identity::own(request) }),
        RouteId::LogError => Box::pin(async { log::error(request, permit) }),
        RouteId::LogAudit => Box::pin(async { log::audit(request, permit) }),
    }
}
