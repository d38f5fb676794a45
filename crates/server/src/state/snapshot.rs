//! Holds the current configuration as an immutable snapshot, which a reload replaces as a whole.
//!
//! Each request loads the snapshot once, so it never uses parts of two configurations.

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

/// A configuration in effect. A request uses the same one to its end.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The number of the configuration, which grows with every reload; invalidates cached policy lookups.
    pub(crate) generation: u64,
    /// When it took effect.
    pub(crate) since: Timestamp,
    pub(crate) policies: PolicySet,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) tls: Arc<ServerConfig>,
    /// The certificates of `tls`.
    pub(crate) certificates: Vec<ServerCertificate>,
    pub(crate) proxy: Proxy,
    /// Verifies certificates that a TLS proxy forwards; `None` with `tls.auth: off`.
    pub(crate) forwarded_chain: Option<ForwardedChain>,
    /// The audit events that are written to standard output.
    pub(crate) audit: AuditEvents,
    routes: Box<[ConfiguredRoute]>,
}

/// A route with its settings from the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfiguredRoute {
    pub(crate) route: &'static Route,
    pub(crate) access: Access,
    pub(crate) timeout: Option<Duration>,
}

/// The reason why a configuration cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No TLS configuration can be built from the certificates, keys and trust anchors.
    #[error("cannot set up TLS")]
    Tls(#[source] TlsError),
}

impl Snapshot {
    /// Builds a complete snapshot; on an error nothing takes effect.
    pub(crate) fn new(
        generation: u64,
        since: Timestamp,
        live: kes_config::Live,
        keyring: Arc<Keyring>,
    ) -> Result<Self, SnapshotError> {
        let routes = ROUTES.iter().map(|route| ConfiguredRoute::new(route, &live)).collect();
        // If the configuration opens a route, clients without a certificate may connect. `/version`, which is
        // always open, does not count.
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

    /// Returns the routes, in the order of their table.
    pub(crate) fn routes(&self) -> &[ConfiguredRoute] {
        &self.routes
    }

    /// Finds the route of a percent-decoded path, and its argument in the path. It compares the path with about
    /// twenty prefixes, which is faster than axum's router (docs/performance.md).
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

/// Publishes the current snapshot.
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
