//! Defines the context of a request, which its layers and its handler share.

use std::sync::Arc;
use std::time::Instant;

use axum::http::Method;
use kes_keyring::Keyring;
use kes_types::{Identity, KeyName, ListPattern, PolicyName};

use crate::connection::peer::{Caller, Peer};
use crate::http::decoded_path::DecodedPath;
use crate::http::error::ApiError;
use crate::state::app::App;
use crate::state::changes::Waiting;
use crate::state::snapshot::{ConfiguredRoute, Snapshot};

/// Describes a request whose route was found. It is created once and borrowed by the layers and the handler.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) app: Arc<App>,
    /// The configuration that is used for the whole request.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The peer of the connection.
    pub(crate) peer: Arc<Peer>,
    pub(crate) route: ConfiguredRoute,
    /// The request's number in the logs.
    pub(crate) id: u64,
    pub(crate) method: Method,
    pub(crate) path: DecodedPath,
    /// Where the argument begins in the path.
    argument_at: usize,
    pub(crate) caller: Caller,
    /// When the request's head was complete.
    pub(crate) begun: Instant,
    /// Whether the client still waits for the response of a change.
    pub(crate) waiting: Waiting,
}

/// Holds the route of a request before its caller is known.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) route: ConfiguredRoute,
    path: DecodedPath,
    argument_at: usize,
}

impl Found {
    /// Finds the route of a path in the configuration in force.
    pub(crate) fn new(app: &App, path: DecodedPath) -> Result<Self, ApiError> {
        let snapshot = app.live.load();
        let found = snapshot.find(path.as_str());
        let (route, argument) = found.ok_or_else(ApiError::no_such_route)?;
        let argument_at = path.as_str().len() - argument.len();
        Ok(Self { snapshot, route, path, argument_at })
    }
}

impl RequestContext {
    /// Creates the context of a request that begins now, with the next request number.
    pub(crate) fn new(
        app: &Arc<App>,
        peer: &Arc<Peer>,
        found: Found,
        method: Method,
        caller: Caller,
    ) -> Self {
        let Found { snapshot, route, path, argument_at } = found;
        Self {
            app: Arc::clone(app),
            snapshot,
            peer: Arc::clone(peer),
            route,
            id: app.next_request_id(),
            method,
            path,
            argument_at,
            caller,
            begun: app.clock.monotonic(),
            waiting: Waiting::default(),
        }
    }

    /// Returns the caller's identity, if it has one.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.caller.subject.as_ref().ok().map(|subject| *subject.identity())
    }

    /// Returns the keyring of the configuration.
    pub(crate) fn keyring(&self) -> &Arc<Keyring> {
        &self.snapshot.keyring
    }

    /// Returns the path after the route's path, slashes included.
    fn argument(&self) -> &str {
        self.path.as_str().get(self.argument_at..).unwrap_or_default()
    }

    /// Parses the argument as the name of a key.
    pub(crate) fn key_name(&self) -> Result<KeyName, ApiError> {
        KeyName::parse(self.argument()).map_err(|_| invalid_name("key name", self.argument()))
    }

    /// Parses the argument as the name of a policy.
    pub(crate) fn policy_name(&self) -> Result<PolicyName, ApiError> {
        PolicyName::parse(self.argument()).map_err(|_| invalid_name("policy name", self.argument()))
    }

    /// Parses the argument as an identity; returns `None` if it is a valid name, but not an identity.
    pub(crate) fn identity_argument(&self) -> Result<Option<Identity>, ApiError> {
        let text = self.argument();
        // In requests the rules of names apply to identities.
        PolicyName::parse(text).map_err(|_| invalid_name("identity", text))?;
        // Only lower case is accepted: a policy that names the identity would not match upper case.
        Ok(text.parse().ok().filter(|identity: &Identity| identity.to_string() == text))
    }

    /// Parses the argument as the pattern of a listing.
    pub(crate) fn pattern(&self) -> Result<ListPattern, ApiError> {
        let text = self.argument();
        ListPattern::parse(text).map_err(|_| {
            ApiError::bad_request(format!(
                "listing pattern '{text}' is empty, too long or is invalid"
            ))
        })
    }
}

fn invalid_name(what: &str, text: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{what} '{text}' is empty, too long or contains invalid characters"
    ))
}
