//! API calls about the server itself.

use http::Method;
use kes_types::path;
use kes_types::wire::{ApiRoute, Status, Version};

use crate::client::Client;
use crate::error::ClientError;

/// The status of a server, and its TLS certificate.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// The status.
    pub status: Status,
    /// The certificate in DER; none if the connection went through a proxy.
    pub certificate: Option<Vec<u8>>,
}

impl Client {
    /// Returns the server's version; needs no policy.
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.get(path::VERSION).await
    }

    /// Succeeds if the server and its key store are ready.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.call(Method::GET, path::READY, None).await.map(drop)
    }

    /// Returns the server's status.
    pub async fn status(&self) -> Result<ServerStatus, ClientError> {
        let mut answer = self.call(Method::GET, path::STATUS, None).await?;
        let certificate = answer.certificate.take();
        Ok(ServerStatus { status: answer.json()?, certificate })
    }

    /// Returns the server's routes.
    pub async fn api(&self) -> Result<Vec<ApiRoute>, ClientError> {
        self.get(path::API).await
    }
}
