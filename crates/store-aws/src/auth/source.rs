//! Sources of AWS credentials: the configuration, or the SDK's credential chain.

use std::pin::Pin;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::config::{Credentials, ProvideCredentials as _, SharedHttpClient};

use crate::auth::session::chain_timeouts;
use crate::error::sanitized::SanitizedError;

/// A source of credentials.
pub(crate) enum Source {
    /// The configuration; these credentials are never replaced.
    Given(Credentials),
    /// A source that is asked for each refresh.
    Asked(Box<dyn Fn() -> Asking + Send + Sync>),
}

/// A question to a source.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Credentials, SanitizedError>> + Send>>;

impl Source {
    /// What the SDK finds in this region's environment.
    pub(crate) fn chain(http: SharedHttpClient, region: Region) -> Self {
        Self::Asked(Box::new(move || Box::pin(from_chain(http.clone(), region.clone()))))
    }
}

/// Asks the SDK's chain, a new one each time: a chain remembers files that have been rotated since,
/// sessions that were ended, failures, and credentials that it gives again when its source fails.
async fn from_chain(http: SharedHttpClient, region: Region) -> Result<Credentials, SanitizedError> {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(region)
        // Without, the chain waits for ever for an STS that does not answer.
        .timeout_config(chain_timeouts());
    let answer = match config.load().await.credentials_provider() {
        Some(chain) => chain.provide_credentials().await,
        None => Err(CredentialsError::not_loaded_no_source()),
    };
    answer.map_err(|error| SanitizedError::of(&error))
}

/// Refuses credentials that cannot be part of a request's head.
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
