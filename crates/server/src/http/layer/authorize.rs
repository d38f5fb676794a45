//! Decides whether a request is allowed by the policies.

use kes_policy::{Permit, RequestPath};

use crate::connection::peer::Unidentified;
use crate::http::error::ApiError;
use crate::http::request::RequestContext;
use crate::http::route::Access;

/// Returns the proof that a request is allowed. Deny patterns of list routes are compared with every path that
/// lists the same names.
pub(super) fn permit(request: &RequestContext) -> Result<Permit, ApiError> {
    let (subject, route) = (&request.caller.subject, request.route.route);
    let access = request.route.access;
    if access == Access::Open {
        return Ok(request.snapshot.policies.open(request.identity()));
    }
    let subject = subject.as_ref().map_err(|unidentified| {
        let Unidentified { response, refusal, peer, detail } = &**unidentified;
        request.app.refusals.note(*peer, refusal, detail.as_deref());
        response.clone()
    })?;
    if access == Access::Certificate {
        return Ok(subject.introduce());
    }
    let path = match route.bare_list_path() {
        Some(_) => RequestPath::listing(route.path, request.path.as_str()),
        None => RequestPath::exact(request.path.as_str()),
    };
    subject.authorize(&path).map_err(|_| ApiError::not_allowed())
}
