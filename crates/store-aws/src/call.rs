//! Names calls to AWS in errors.

use std::fmt;

/// An action on a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AwsCall {
    /// The action as policies name it: `secretsmanager:GetSecretValue`.
    pub(crate) action: &'static str,
    /// The resource: a name or an ARN.
    pub(crate) resource: String,
}

impl AwsCall {
    pub(crate) fn new(action: &'static str, resource: &str) -> Self {
        Self { action, resource: resource.to_owned() }
    }

    /// Returns whether the call uses Secrets Manager, so that its failure affects the health of the
    /// store.
    pub(crate) fn is_of_secrets_manager(&self) -> bool {
        self.action.starts_with("secretsmanager:")
    }
}

impl fmt::Display for AwsCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)
    }
}
