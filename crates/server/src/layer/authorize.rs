//! Who may go on.

use kes_policy::Permit;

use crate::error::ApiError;
use crate::live::Snapshot;
use crate::peer::{Caller, Unidentified};
use crate::refusals::Refusals;
use crate::route::{Access, Route};
use crate::target::Target;

/// Decides about a call. A list route called without its last slash is judged as with it; deny
/// patterns see both forms.
pub(crate) fn permit(
    refusals: &Refusals,
    snapshot: &Snapshot,
    access: Access,
    route: &Route,
    target: &Target,
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
    let (path, alias) = match route.bare_list_path() {
        Some(bare) if target.as_str() == bare || target.as_str() == route.path => {
            (route.path, Some(bare))
        }
        _ => (target.as_str(), None),
    };
    subject.authorize(path, alias).map_err(|_| ApiError::not_allowed())
}
