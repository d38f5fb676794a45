//! API calls about policies.

use kes_types::wire::{PolicyInfo, PolicyPage, PolicyRules};
use kes_types::{ListPattern, PolicyName, path};

use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// Describes a policy.
    pub async fn describe_policy(&self, name: &PolicyName) -> Result<PolicyInfo, ClientError> {
        self.get(&format!("{}{name}", path::POLICY_DESCRIBE)).await
    }

    /// Reads the rules of a policy.
    pub async fn read_policy(&self, name: &PolicyName) -> Result<PolicyRules, ClientError> {
        self.get(&format!("{}{name}", path::POLICY_READ)).await
    }

    /// Lists the first page of the policies that `pattern` matches.
    pub async fn list_policies(&self, pattern: &ListPattern) -> Result<PolicyPage, ClientError> {
        self.get(&format!("{}{}", path::POLICY_LIST, pattern.prefix())).await
    }
}
