//! Identities, read only: they come from the configuration.

use kes_policy::Subject;
use kes_types::wire::{IdentityInfo, IdentityPage, RuleSet, SelfInfo, message};

use super::Call;
use super::policy::rules;
use crate::http::error::{ApiError, ApiResult};
use crate::http::response;

/// `GET /v1/identity/describe/<identity>`.
pub(crate) fn describe(call: Call) -> ApiResult {
    let identity = call.identity()?.ok_or_else(unknown)?;
    let subject = call.snapshot.policies.subject(&identity);
    response::json(&info(&call, &subject).ok_or_else(unknown)?)
}

/// `GET /v1/identity/self/describe`.
pub(crate) fn own(call: Call) -> ApiResult {
    let subject =
        call.caller.subject.as_ref().map_err(|unidentified| unidentified.answer.clone())?;
    let info = info(&call, subject).ok_or_else(unknown)?;
    let (allow, deny) = match subject {
        Subject::Assigned(_, policy) => (rules(policy.allow()), rules(policy.deny())),
        Subject::Admin(_) | Subject::WithoutPolicy(_) => (RuleSet::new(), RuleSet::new()),
    };
    response::json(&SelfInfo { identity: *subject.identity(), info, allow, deny })
}

/// `GET /v1/identity/list/<pattern>`.
pub(crate) fn list(call: Call) -> ApiResult {
    let pattern = call.pattern()?;
    let identities = call.snapshot.policies.identities().into_iter();
    let identities = identities.filter(|identity| pattern.matches(&identity.to_string()));
    // All of them: a configuration of 1 MiB names fewer than an answer holds.
    response::json(&IdentityPage { identities: identities.collect(), continue_at: String::new() })
}

/// What is known of an identity; nothing of one without a policy.
fn info(call: &Call, subject: &Subject) -> Option<IdentityInfo> {
    let admin = IdentityInfo {
        admin: true,
        policy: None,
        created_at: call.snapshot.since,
        created_by: None,
    };
    match subject {
        Subject::Admin(_) => Some(admin),
        Subject::Assigned(_, policy) => Some(IdentityInfo {
            admin: false,
            policy: Some(policy.name().clone()),
            created_by: Some(call.snapshot.policies.admin().as_str().to_owned()),
            ..admin
        }),
        Subject::WithoutPolicy(_) => None,
    }
}

fn unknown() -> ApiError {
    ApiError::not_found(message::IDENTITY_NOT_FOUND)
}
