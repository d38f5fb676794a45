//! Calls on policies.

use http::Method;
use kes_types::wire::{PolicyInfo, PolicyPage, PolicyRules};
use kes_types::{ListPattern, PolicyName, path};

use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// Describes a policy.
    pub async fn describe_policy(&self, name: &PolicyName) -> Result<PolicyInfo, ClientError> {
        self.fetch(Method::GET, &format!("{}{name}", path::POLICY_DESCRIBE)).await
    }

    /// Reads what a policy allows and denies.
    pub async fn read_policy(&self, name: &PolicyName) -> Result<PolicyRules, ClientError> {
        self.fetch(Method::GET, &format!("{}{name}", path::POLICY_READ)).await
    }

    /// Lists the first page of the policies that `pattern` matches.
    pub async fn list_policies(&self, pattern: &ListPattern) -> Result<PolicyPage, ClientError> {
        self.fetch(Method::GET, &format!("{}{}", path::POLICY_LIST, pattern.prefix())).await
    }
}
