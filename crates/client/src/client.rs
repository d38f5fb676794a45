//! The client, its configuration and its time limits.

use std::sync::Arc;
use std::time::Duration;

use kes_outbound::Proxies;
use kes_tls::{ClientIdentity, ServerTrust};

use crate::endpoint::Endpoint;
use crate::error::SetupError;

/// The `User-Agent` of the client.
const AGENT: &str = concat!("kes/", env!("CARGO_PKG_VERSION"));
/// Idle timeout of pooled connections; shorter than the server's, which is 90 s.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// The configuration of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The servers, tried in this order; all have the same keys.
    pub endpoints: Vec<Endpoint>,
    /// The client's certificate chain and private key.
    pub identity: ClientIdentity,
    /// How certificates of servers are verified.
    pub trust: ServerTrust,
    /// The HTTP proxies of the environment.
    pub proxies: Proxies,
    /// The time limits.
    pub timeouts: Timeouts,
}

/// The time limits of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Limit of a whole call with all servers that it tries; 20 s by default, since a server
    /// answers within 15 s.
    pub call: Duration,
    /// Limit of a connection to one server: name resolution, proxy, TCP and TLS; 5 s by default.
    pub connect: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { call: Duration::from_secs(20), connect: Duration::from_secs(5) }
    }
}

/// A client of one or several key servers. Cheap to clone; clones share connections.
///
/// A call goes to the first server. The next one is tried, with the whole request again, when a
/// server cannot be connected to or answers 5xx other than 501; every other answer is final. A
/// call that is dropped may still take effect.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) endpoints: Arc<[Endpoint]>,
    pub(crate) timeouts: Timeouts,
}

impl Client {
    /// Creates a client; the first call connects.
    pub fn new(config: ClientConfig) -> Result<Self, SetupError> {
        if config.endpoints.is_empty() {
            return Err(SetupError::NoEndpoint);
        }
        let ClientConfig { endpoints, identity, trust, proxies, timeouts } = config;
        let tls = kes_tls::client_config(&trust, Some(&identity))?;
        let http = kes_outbound::client_builder(tls, &proxies)
            .user_agent(AGENT)
            .connect_timeout(timeouts.connect)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tls_info(true)
            .build()
            .map_err(|error| SetupError::Http(error.into()))?;
        Ok(Self { http, endpoints: endpoints.into(), timeouts })
    }

    /// The servers, in the order in which they are tried.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Returns one client for each server, in order; they share connections with this one.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.endpoints
            .iter()
            .map(|endpoint| Self { endpoints: [endpoint.clone()].into(), ..self.clone() })
    }
}
