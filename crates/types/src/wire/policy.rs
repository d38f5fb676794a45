//! JSON bodies of the policy API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{PolicyName, Timestamp};

/// A map from path patterns to rules: `{"<pattern>":{}}`.
pub type RuleSet = BTreeMap<String, Rule>;

/// The rule of a path pattern, which has no fields today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {}

/// The response of `GET /v1/policy/describe/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// The policy's name.
    pub name: PolicyName,
    /// When the policy came into force: the server's start or last reload.
    pub created_at: Timestamp,
    /// The admin identity as configured.
    pub created_by: String,
}

/// The response of `GET /v1/policy/read/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRules {
    /// The policy's name.
    pub name: PolicyName,
    /// Patterns of allowed paths.
    #[serde(default, skip_serializing_if = "RuleSet::is_empty")]
    pub allow: RuleSet,
    /// Patterns of denied paths, which take precedence.
    #[serde(default, skip_serializing_if = "RuleSet::is_empty")]
    pub deny: RuleSet,
    /// When the policy came into force.
    pub created_at: Timestamp,
    /// The admin identity as configured.
    pub created_by: String,
}

/// The response of `GET /v1/policy/list/<pattern>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPage {
    /// Names in byte order.
    pub names: Vec<PolicyName>,
    /// The first name of the next page; empty on the last page.
    #[serde(default)]
    pub continue_at: String,
}
