//! Calls on the server itself.

use http::Method;
use kes_types::path;
use kes_types::wire::{ApiRoute, Status, Version};

use crate::client::Client;
use crate::error::ClientError;

/// The status of a server, and the certificate that it showed.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// The status.
    pub status: Status,
    /// The certificate in DER; not known when the connection went through a proxy.
    pub certificate: Option<Vec<u8>>,
}

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
    pub async fn status(&self) -> Result<ServerStatus, ClientError> {
        let answer = self.fetch_with_certificate(Method::GET, path::STATUS).await;
        answer.map(|(status, certificate)| ServerStatus { status, certificate })
    }

    /// The server's routes.
    pub async fn api(&self) -> Result<Vec<ApiRoute>, ClientError> {
        self.fetch(Method::GET, path::API).await
    }
}
