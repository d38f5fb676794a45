//! Loads AWS credentials from the configuration, or from the credential chain of the SDK.

use std::pin::Pin;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::config::{Credentials, ProvideCredentials as _, SharedHttpClient};

use crate::auth::session::chain_timeouts;
use crate::error::sanitized::SanitizedError;

/// A source of credentials.
pub(crate) enum Source {
    /// The static credentials of the configuration, which are never replaced.
    Given(Credentials),
    /// A source that is called for each refresh.
    Asked(Box<dyn Fn() -> Asking + Send + Sync>),
}

/// The future of a call to a source.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Credentials, SanitizedError>> + Send>>;

impl Source {
    /// Returns the credential chain of the SDK for a region.
    pub(crate) fn chain(http: SharedHttpClient, region: Region) -> Self {
        Self::Asked(Box::new(move || Box::pin(from_chain(http.clone(), region.clone()))))
    }
}

/// Loads credentials from a new credential chain of the SDK. A reused chain caches files that have
/// been rotated, sessions that have ended, failures, and credentials, which it returns again when
/// its source fails.
async fn from_chain(http: SharedHttpClient, region: Region) -> Result<Credentials, SanitizedError> {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(region)
        // Without timeouts the chain waits forever for an STS that does not respond.
        .timeout_config(chain_timeouts());
    let answer = match config.load().await.credentials_provider() {
        Some(chain) => chain.provide_credentials().await,
        None => Err(CredentialsError::not_loaded_no_source()),
    };
    answer.map_err(|error| SanitizedError::of(&error))
}

/// Rejects credentials that are not valid in HTTP headers.
pub(super) fn sendable(credentials: Credentials) -> Result<Credentials, SanitizedError> {
    let is_good = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good(credentials.access_key_id()) && credentials.session_token().is_none_or(is_good) {
        return Ok(credentials);
    }
    Err(SanitizedError::new(
        "the credentials have a blank, a line end or another character that none have",
    ))
}

pub(super) fn no_answer(within: Duration) -> SanitizedError {
    SanitizedError::new(&format!("no source of credentials answered within {} s", within.as_secs()))
}
