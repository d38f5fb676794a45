//! Handles the routes of identities, which are read from the configuration.

use kes_policy::Subject;
use kes_types::wire::{IdentityInfo, IdentityPage, RuleSet, SelfInfo, message};

use super::policy::rules;
use crate::http::error::ApiError;
use crate::http::request::RequestContext;
use crate::http::response::{self, ApiResult};

/// `GET /v1/identity/describe/<identity>`.
pub(crate) fn describe(request: &RequestContext) -> ApiResult {
    let identity = request.identity_argument()?.ok_or_else(unknown)?;
    let subject = request.snapshot.policies.subject(&identity);
    response::json(&info(request, &subject).ok_or_else(unknown)?)
}

/// `GET /v1/identity/self/describe`.
pub(crate) fn own(request: &RequestContext) -> ApiResult {
    let subject =
        request.caller.subject.as_ref().map_err(|unidentified| unidentified.response.clone())?;
    let info = info(request, subject).ok_or_else(unknown)?;
    let (allow, deny) = match subject {
        Subject::Assigned(_, policy) => (rules(policy.allow()), rules(policy.deny())),
        Subject::Admin(_) | Subject::WithoutPolicy(_) => (RuleSet::new(), RuleSet::new()),
    };
    response::json(&SelfInfo { identity: *subject.identity(), info, allow, deny })
}

/// `GET /v1/identity/list/<pattern>`.
pub(crate) fn list(request: &RequestContext) -> ApiResult {
    let pattern = request.pattern()?;
    let identities = request.snapshot.policies.identities().into_iter();
    let identities = identities.filter(|identity| pattern.matches(&identity.to_string()));
    // The listing needs no limit: a configuration of 1 MiB has fewer identities than fit in a response.
    response::json(&IdentityPage { identities: identities.collect(), continue_at: String::new() })
}

/// Describes an identity; returns `None` for one without a policy.
fn info(request: &RequestContext, subject: &Subject) -> Option<IdentityInfo> {
    let admin = IdentityInfo {
        admin: true,
        policy: None,
        created_at: request.snapshot.since,
        created_by: None,
    };
    match subject {
        Subject::Admin(_) => Some(admin),
        Subject::Assigned(_, policy) => Some(IdentityInfo {
            admin: false,
            policy: Some(policy.name().clone()),
            created_by: Some(request.snapshot.policies.admin().as_str().to_owned()),
            ..admin
        }),
        Subject::WithoutPolicy(_) => None,
    }
}

fn unknown() -> ApiError {
    ApiError::not_found(message::IDENTITY_NOT_FOUND)
}
