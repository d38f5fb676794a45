//! Calls on the server itself.

use http::Method;
use kes_types::path;
use kes_types::wire::{ApiRoute, Status, Version};

use crate::client::Client;
use crate::error::ClientError;

impl Client {
    /// The server's version; needs no policy.
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.fetch(Method::GET, path::VERSION).await
    }

    /// Succeeds if the server and its key store are ready to work.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.order(Method::GET, path::READY).await
    }

    /// The server's status.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.fetch(Method::GET, path::STATUS).await
    }

    /// The server's routes.
    pub async fn api(&self) -> Result<Vec<ApiRoute>, ClientError> {
        self.fetch(Method::GET, path::API).await
    }
}
