//! JSON bodies of the identity API.

use serde::{Deserialize, Serialize};

use super::RuleSet;
use crate::{Identity, PolicyName, Timestamp};

/// The response of `GET /v1/identity/describe/<identity>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityInfo {
    /// Whether the identity is the admin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin: bool,
    /// The policy that the identity is assigned to; `None` for the admin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// When the assignment came into force: the server's start or last reload.
    pub created_at: Timestamp,
    /// The admin identity as configured; `None` for the admin itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// The response of `GET /v1/identity/self/describe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfInfo {
    /// The caller's identity.
    pub identity: Identity,
    /// The caller's role and policy.
    #[serde(flatten)]
    pub info: IdentityInfo,
    /// Patterns of allowed paths.
    #[serde(default, skip_serializing_if = "RuleSet::is_empty")]
    pub allow: RuleSet,
    /// Patterns of denied paths, which take precedence.
    #[serde(default, skip_serializing_if = "RuleSet::is_empty")]
    pub deny: RuleSet,
}

/// The response of `GET /v1/identity/list/<pattern>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityPage {
    /// Identities in byte order, the admin included.
    pub identities: Vec<Identity>,
    /// The first identity of the next page; empty on the last page.
    #[serde(default)]
    pub continue_at: String,
}
