//! A named set of rules.

use kes_types::PolicyName;

use crate::{Pattern, RequestPath};

/// A policy: what its identities may call. Deny wins over allow; no match is a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    name: PolicyName,
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

impl Policy {
    /// Makes a policy from its patterns.
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

    /// Whether the policy allows a request for that path: no deny pattern matches any of the paths
    /// that ask for the same, and an allow pattern matches the one that is written.
    pub fn allows(&self, path: &RequestPath<'_>) -> bool {
        let is_denied = |pattern: &Pattern| path.spellings().any(|path| pattern.matches(path));
        let is_allowed = |pattern: &Pattern| pattern.matches(path.as_str());
        !self.deny.iter().any(is_denied) && self.allow.iter().any(is_allowed)
    }
}
