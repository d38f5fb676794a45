//! Who may go on.

use kes_policy::{Permit, RequestPath};

use crate::connection::peer::{Caller, Unidentified};
use crate::http::decoded_path::DecodedPath;
use crate::http::error::ApiError;
use crate::http::route::{Access, Route};
use crate::log::refusals::Refusals;
use crate::state::snapshot::Snapshot;

/// Decides about a call. Deny patterns of list routes see every path that lists the same names.
pub(crate) fn permit(
    refusals: &Refusals,
    snapshot: &Snapshot,
    access: Access,
    route: &Route,
    target: &DecodedPath,
    caller: &Caller,
) -> Result<Permit, ApiError> {
    let subject = match access {
        Access::Open => {
            let identity = caller.subject.as_ref().ok().map(|subject| *subject.identity());
            return Ok(snapshot.policies.open(identity));
        }
        Access::Certificate | Access::Policy => {
            caller.subject.as_ref().map_err(|unidentified| {
                let Unidentified { answer, refusal, peer, detail } = &**unidentified;
                refusals.note(*peer, refusal, detail.as_deref());
                answer.clone()
            })?
        }
    };
    if access == Access::Certificate {
        return Ok(subject.introduce());
    }
    let path = match route.bare_list_path() {
        Some(_) => RequestPath::listing(route.path, target.as_str()),
        None => RequestPath::exact(target.as_str()),
    };
    subject.authorize(&path).map_err(|_| ApiError::not_allowed())
}
