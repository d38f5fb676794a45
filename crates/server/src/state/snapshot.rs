//! The configuration in force, as one immutable snapshot that a request loads once.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kes_config::{AuditEvents, Proxy};
use kes_keyring::Keyring;
use kes_policy::PolicySet;
use kes_types::Timestamp;
use rustls::ServerConfig;

use crate::connection::tls::{self, ForwardedChain, TlsError};
use crate::http::route::{Access, ROUTES, Route};
use crate::state::expiry::{self, ServerCertificate};

/// A configuration in force. A request lives with one to its end.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Grows with every reload; what was resolved under another generation is resolved again.
    pub(crate) generation: u64,
    /// When it came into force.
    pub(crate) since: Timestamp,
    pub(crate) policies: PolicySet,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) tls: Arc<ServerConfig>,
    /// The certificates of `tls`.
    pub(crate) certificates: Vec<ServerCertificate>,
    pub(crate) proxy: Proxy,
    /// Checks certificates that a TLS proxy forwards; none with `tls.auth: off`.
    pub(crate) forwarded_chain: Option<ForwardedChain>,
    /// Which audit events go to standard output.
    pub(crate) audit: AuditEvents,
    routes: Box<[ConfiguredRoute]>,
}

/// A route with what the configuration says of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfiguredRoute {
    pub(crate) route: &'static Route,
    pub(crate) access: Access,
    pub(crate) timeout: Option<Duration>,
}

/// Why a configuration cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Certificates, keys or trust anchors do not make a TLS configuration.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
}

impl Snapshot {
    /// Builds all of it, so that nothing is half in force.
    pub(crate) fn new(
        generation: u64,
        since: Timestamp,
        live: kes_config::Live,
        keyring: Arc<Keyring>,
    ) -> Result<Self, SnapshotError> {
        let routes = ROUTES.iter().map(|route| ConfiguredRoute::new(route, &live)).collect();
        // One open route lets callers without a certificate in; `/version` alone does not.
        let is_any_open = live.api.iter().any(|api| api.skip_auth);
        let tls = tls::server_config(&live.tls, is_any_open).map_err(SnapshotError::Tls)?;
        let forwarded_chain = ForwardedChain::new(&live.tls).map_err(SnapshotError::Tls)?;
        Ok(Self {
            generation,
            since,
            policies: live.policies,
            keyring,
            tls,
            certificates: expiry::server_certificates(&live.tls.chain),
            proxy: live.tls.proxy,
            forwarded_chain,
            audit: live.log.audit,
            routes,
        })
    }

    /// The routes, in the order of their table.
    pub(crate) fn routes(&self) -> &[ConfiguredRoute] {
        &self.routes
    }

    /// Finds the route of a percent-decoded path, and its argument in the path. A scan of some twenty
    /// prefixes; axum's router costs 2 µs more (docs/performance.md).
    pub(crate) fn find<'a>(&self, path: &'a str) -> Option<(ConfiguredRoute, &'a str)> {
        self.routes.iter().find_map(|it| Some((*it, it.route.argument_of(path)?)))
    }
}

impl ConfiguredRoute {
    fn new(route: &'static Route, live: &kes_config::Live) -> Self {
        let (mut access, mut timeout) = (route.access, route.timeout);
        if let Some(api) = live.api.iter().find(|api| api.path == route.path) {
            if api.skip_auth {
                access = Access::Open;
            }
            timeout = api.timeout.or(timeout);
        }
        Self { route, access, timeout }
    }
}

/// The snapshot in force.
#[derive(Debug)]
pub(crate) struct Live(ArcSwap<Snapshot>);

impl Live {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self(ArcSwap::from_pointee(snapshot))
    }

    pub(crate) fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }
}
