//! Handles the routes of policies, which are read from the configuration.

use kes_policy::{Pattern, Policy};
use kes_types::PolicyName;
use kes_types::wire::{PolicyInfo, PolicyPage, PolicyRules, Rule, RuleSet, message};

use crate::http::error::ApiError;
use crate::http::page;
use crate::http::request::RequestContext;
use crate::http::response::{self, ApiResult};

/// `GET /v1/policy/describe/<name>`.
pub(crate) fn describe(request: &RequestContext) -> ApiResult {
    let policy = find(request)?;
    response::json(&PolicyInfo {
        name: policy.name().clone(),
        created_at: request.snapshot.since,
        created_by: request.snapshot.policies.admin().as_str().to_owned(),
    })
}

/// `GET /v1/policy/read/<name>`.
pub(crate) fn read(request: &RequestContext) -> ApiResult {
    let policy = find(request)?;
    response::json(&PolicyRules {
        name: policy.name().clone(),
        allow: rules(policy.allow()),
        deny: rules(policy.deny()),
        created_at: request.snapshot.since,
        created_by: request.snapshot.policies.admin().as_str().to_owned(),
    })
}

/// `GET /v1/policy/list/<pattern>`.
pub(crate) fn list(request: &RequestContext) -> ApiResult {
    let pattern = request.pattern()?;
    let names = request.snapshot.policies.policies().map(|policy| policy.name().clone());
    let names = names.filter(|name| pattern.matches(name.as_str())).collect();
    let (names, next) = page::cut(names, PolicyName::as_str);
    let continue_at = next.map(|name| name.to_string()).unwrap_or_default();
    response::json(&PolicyPage { names, continue_at })
}

/// Converts patterns to their JSON form.
pub(crate) fn rules(patterns: &[Pattern]) -> RuleSet {
    patterns.iter().map(|pattern| (pattern.as_str().to_owned(), Rule {})).collect()
}

fn find(request: &RequestContext) -> Result<&Policy, ApiError> {
    let policy = request.snapshot.policies.policy(&request.policy_name()?);
    policy.map(|policy| &**policy).ok_or_else(|| ApiError::not_found(message::POLICY_NOT_FOUND))
}
