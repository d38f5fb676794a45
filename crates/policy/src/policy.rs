//! A named set of rules.

use kes_types::PolicyName;

use crate::Pattern;

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

    /// Whether the policy allows `path`. `alias` is another spelling of the same path (a list
    /// route without its last slash), which only deny patterns look at.
    pub(crate) fn allows(&self, path: &str, alias: Option<&str>) -> bool {
        let denied = |pattern: &Pattern| {
            pattern.matches(path) || alias.is_some_and(|alias| pattern.matches(alias))
        };
        !self.deny.iter().any(denied) && self.allow.iter().any(|pattern| pattern.matches(path))
    }
}
