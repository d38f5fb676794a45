//! The client and how it is made.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::{self, Client as HttpClient};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connector::Connector;
use crate::endpoint::Endpoint;
use crate::tls::{ClientIdentity, ServerTrust, SetupError, TlsClient};

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
    /// When it gives up.
    pub timeouts: Timeouts,
}

/// When a client gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A whole call, over all servers; 20 s, since a server answers within 15 s.
    pub call: Duration,
    /// TCP and TLS to one server; 5 s.
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
    pub(crate) http: HttpClient<Connector, Full<Bytes>>,
    pub(crate) endpoints: Arc<[Endpoint]>,
    pub(crate) call_timeout: Duration,
}

impl Client {
    /// Makes a client; connects to nobody yet.
    pub fn new(config: ClientConfig) -> Result<Self, SetupError> {
        if config.endpoints.is_empty() {
            return Err(SetupError::NoEndpoint);
        }
        let tls = TlsClient::new(&config.identity, &config.trust)?;
        let http = legacy::Builder::new(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(Connector::new(tls, config.timeouts.connect));
        let endpoints = config.endpoints.into();
        Ok(Self { http, endpoints, call_timeout: config.timeouts.call })
    }

    /// The servers, in the order in which they are tried.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}
