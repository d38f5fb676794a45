//! API calls about identities.

use kes_types::wire::{IdentityInfo, IdentityPage, SelfInfo};
use kes_types::{Identity, ListPattern, path};

use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// Describes an identity.
    pub async fn describe_identity(
        &self,
        identity: &Identity,
    ) -> Result<IdentityInfo, ClientError> {
        self.get(&format!("{}{identity}", path::IDENTITY_DESCRIBE)).await
    }

    /// Describes the caller and its policy.
    pub async fn describe_self(&self) -> Result<SelfInfo, ClientError> {
        self.get(path::IDENTITY_SELF).await
    }

    /// Lists the first page of the identities that `pattern` matches, the admin included.
    pub async fn list_identities(
        &self,
        pattern: &ListPattern,
    ) -> Result<IdentityPage, ClientError> {
        self.get(&format!("{}{}", path::IDENTITY_LIST, pattern.prefix())).await
    }
}
