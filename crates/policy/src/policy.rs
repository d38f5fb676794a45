//! Policies: named sets of allow and deny patterns.

use kes_types::PolicyName;

use crate::{Pattern, RequestPath};

/// A named set of allow and deny patterns for paths.
///
/// Deny takes precedence over allow; a path that matches neither is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: PolicyName,
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

impl Policy {
    /// Makes a policy of its patterns.
    pub fn new(name: PolicyName, allow: Vec<Pattern>, deny: Vec<Pattern>) -> Self {
        Self { name, allow, deny }
    }

    /// The policy's name.
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// The patterns of allowed paths, as configured.
    pub fn allow(&self) -> &[Pattern] {
        &self.allow
    }

    /// The patterns of denied paths, as configured.
    pub fn deny(&self) -> &[Pattern] {
        &self.deny
    }

    /// Whether the policy allows a request for that path.
    ///
    /// An allow pattern has to match the path as written, and no deny pattern may match any of the
    /// equivalent paths.
    pub fn allows(&self, path: &RequestPath<'_>) -> bool {
        let is_denied = |pattern: &Pattern| path.spellings().any(|path| pattern.matches(path));
        let is_allowed = |pattern: &Pattern| pattern.matches(path.as_str());
        !self.deny.iter().any(is_denied) && self.allow.iter().any(is_allowed)
    }
}
