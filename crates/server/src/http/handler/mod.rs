//! What a route does, a file per group of routes.

pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod policy;
pub(crate) mod status;

use std::sync::Arc;

use kes_keyring::Keyring;
use kes_policy::Permit;
use kes_types::{Identity, KeyName, ListPattern, PolicyName};

use crate::connection::peer::Caller;
use crate::http::decoded_path::DecodedPath;
use crate::http::error::ApiError;
use crate::http::route::Route;
use crate::state::app::App;
use crate::state::snapshot::Snapshot;

/// A call that was allowed.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) permit: Permit,
    pub(crate) caller: Caller,
    pub(crate) target: DecodedPath,
    pub(crate) route: &'static Route,
    /// The request's number in the log.
    pub(crate) id: u64,
}

impl Call {
    /// Everything after the route's path, slashes included.
    fn argument(&self) -> &str {
        self.route.argument_of(self.target.as_str())
    }

    fn key_name(&self) -> Result<KeyName, ApiError> {
        KeyName::parse(self.argument()).map_err(|_| invalid_name("key name", self.argument()))
    }

    fn policy_name(&self) -> Result<PolicyName, ApiError> {
        PolicyName::parse(self.argument()).map_err(|_| invalid_name("policy name", self.argument()))
    }

    /// The identity asked about; none if the text is a name, but no identity.
    fn identity(&self) -> Result<Option<Identity>, ApiError> {
        let text = self.argument();
        // Identities follow the rules of names on the wire.
        PolicyName::parse(text).map_err(|_| invalid_name("identity", text))?;
        // In lower case alone: a policy that names the identity would not match the other spelling.
        Ok(text.parse().ok().filter(|identity: &Identity| identity.to_string() == text))
    }

    fn pattern(&self) -> Result<ListPattern, ApiError> {
        let text = self.argument();
        ListPattern::parse(text).map_err(|_| {
            ApiError::bad_request(format!(
                "listing pattern '{text}' is empty, too long or is invalid"
            ))
        })
    }

    fn keyring(&self) -> &Arc<Keyring> {
        &self.snapshot.keyring
    }
}

fn invalid_name(what: &str, text: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{what} '{text}' is empty, too long or contains invalid characters"
    ))
}
