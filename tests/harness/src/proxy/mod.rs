//! A recording HTTP proxy in front of a real server, which injects faults.

mod connection;
mod fault;
mod plan;
mod script;
pub mod tunnel;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

pub use fault::{Fault, Gate, Reply};

use crate::pki::{Authority, Credential};
use connection::accept;
use plan::{Plan, Rule, Shared};

/// How long a test waits for a request.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A running proxy, which forwards each request over a connection of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

/// A recorded request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Asked {
    /// A header's text, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or("(not text)"))
    }
}

impl Proxy {
    /// Listens on a port of its own, for HTTP without TLS, and forwards to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        Self::start(target, None).await
    }

    /// Listens for HTTPS on 127.0.0.1, with a certificate of this authority. Requests are forwarded without
    /// TLS.
    pub async fn with_tls(target: SocketAddr, authority: &Authority) -> Self {
        Self::start(target, Some(authority.acceptor())).await
    }

    /// Listens for HTTPS on 127.0.0.1, with this certificate. Requests are forwarded without TLS.
    pub async fn with_certificate(target: SocketAddr, certificate: &Credential) -> Self {
        Self::start(target, Some(certificate.acceptor())).await
    }

    async fn start(target: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it was just bound");
        let plan = Plan { target: Some(target), ..Plan::default() };
        let shared = Arc::new(Shared {
            plan: Mutex::new(plan),
            asked: watch::Sender::new(Vec::new()),
            turn: tokio::sync::Mutex::new(()),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls, Arc::clone(&shared)));
        Self { address, scheme, shared, _accepting: accepting }
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its URL, without a path.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Injects a fault into every request for which `when` holds, from now on. Of several rules
    /// that hold the first one given applies.
    pub fn inject(&self, fault: Fault, when: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
        self.rule(None, fault, when);
    }

    /// Injects a fault into the next `times` requests for which `when` holds.
    pub fn inject_times(
        &self,
        times: usize,
        fault: Fault,
        when: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) {
        self.rule(Some(times), fault, when);
    }

    fn rule(
        &self,
        left: Option<usize>,
        fault: Fault,
        when: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) {
        self.plan().rules.push(Rule { when: Box::new(when), fault, left });
    }

    /// Drops every rule: requests that come are forwarded as they are.
    pub fn heal(&self) {
        self.plan().rules.clear();
    }

    /// Forwards to `target` from now on; `None` ends connections when something is asked on them.
    pub fn turn(&self, target: Option<SocketAddr>) {
        self.plan().target = target;
    }

    /// Forwards requests for which `when` holds one after the other, for targets that do not keep
    /// apart what comes at once.
    pub fn one_at_a_time(&self, when: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
        self.plan().one_at_a_time = Some(Box::new(when));
    }

    /// Checks every request with `demand`, from now on. What is wrong with one is kept in
    /// [`Self::failures`], and the request gets this answer without reaching the target.
    pub fn demand(
        &self,
        refusal: Reply,
        demand: impl Fn(&Asked) -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.plan().demand = Some((Box::new(demand), refusal));
    }

    /// Returns what was wrong with requests so far.
    pub fn failures(&self) -> Vec<String> {
        self.plan().failures.clone()
    }

    /// Returns the number of connections that it has accepted.
    pub fn accepted(&self) -> usize {
        self.plan().accepted
    }

    /// Returns the recorded requests, in the order in which they came.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.borrow().clone()
    }

    /// Counts the recorded requests that match `wanted`.
    pub fn count(&self, wanted: impl Fn(&Asked) -> bool) -> usize {
        self.shared.asked.borrow().iter().filter(|asked| wanted(asked)).count()
    }

    /// Waits for a request that matches `wanted`, and returns the first one.
    ///
    /// # Panics
    /// If none comes.
    pub async fn seen(&self, wanted: impl Fn(&Asked) -> bool + Send + Sync) -> Asked {
        self.seen_times(1, wanted).await
    }

    /// Waits for so many requests that match `wanted`, and returns the last of them.
    ///
    /// # Panics
    /// If they do not come.
    pub async fn seen_times(
        &self,
        times: usize,
        wanted: impl Fn(&Asked) -> bool + Send + Sync,
    ) -> Asked {
        let found = |all: &Vec<Asked>| {
            all.iter().filter(|asked| wanted(asked)).nth(times.saturating_sub(1)).cloned()
        };
        let mut all = self.shared.asked.subscribe();
        let last = timeout(TIMEOUT, all.wait_for(|all| found(all).is_some())).await;
        let there = last.ok().and_then(|all| found(&*all.ok()?));
        there.unwrap_or_else(|| panic!("that was not asked {times} times: {:#?}", self.asked()))
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.shared.plan()
    }
}
