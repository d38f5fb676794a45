//! The client and how it is made.

use std::sync::Arc;
use std::time::Duration;

use kes_outbound::Proxies;
use kes_tls::{ClientIdentity, ServerTrust};

use crate::endpoint::Endpoint;
use crate::error::SetupError;

/// The `User-Agent` of the client.
const AGENT: &str = concat!("kes/", env!("CARGO_PKG_VERSION"));
/// How long an unused connection is kept; a server closes it after 90 s.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// What a [`Client`] is made of.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The servers, tried in this order; all have the same keys.
    pub endpoints: Vec<Endpoint>,
    /// Who the client is.
    pub identity: ClientIdentity,
    /// Which servers it trusts.
    pub trust: ServerTrust,
    /// Through which proxies it connects.
    pub proxies: Proxies,
    /// When it gives up.
    pub timeouts: Timeouts,
}

/// When a client gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A whole call, over all servers; 20 s, since a server answers within 15 s.
    pub call: Duration,
    /// Name, proxy, TCP and TLS of one server; 5 s.
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
    /// Makes a client; connects to nobody yet.
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

    /// A client of each server alone, in their order; they share connections with this one.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.endpoints
            .iter()
            .map(|endpoint| Self { endpoints: [endpoint.clone()].into(), ..self.clone() })
    }
}
