//! HTTP towards Vault: one pool of connections, a limit and an end to everything.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, StatusCode, header};
use kes_config::VaultKeystore;
use kes_outbound::{Failure, Proxies};
use kes_types::{Clock, Secret};
use reqwest::{Client, Response, Url};
use serde::Deserialize;

use crate::answer::Answer;
use crate::call::{Call, Target};
use crate::error::{OpenError, VaultError};
use crate::tls;

/// The longest that an operation on the store takes in total, with all its calls and waits.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that nobody uses is kept: less than load balancers do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// A connection that lost its other end without a word is found out while there is time left for
/// the request to be sent on another: h2 is asked for a sign of life this often, which may take this
/// long, and what is sent has to be received within this time.
const PING: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(4);

/// Whoever wants to be left alone for longer is asked again all the same.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// A standby sends us to the active node, which may have changed in between.
const REDIRECTS_MAX: usize = 2;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault can be told to answer nobody without it, against forged requests.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// How far a node must have come to answer us, and what it does when it has not: it asks the active
/// one. Nodes that lag behind would not see what we have just written.
const INDEX: HeaderName = HeaderName::from_static("x-vault-index");
const INCONSISTENT: HeaderName = HeaderName::from_static("x-vault-inconsistent");
const FORWARD: HeaderValue = HeaderValue::from_static("forward-active-node");

/// The way to Vault.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: Client,
    /// Vault's URL, without `/v1`.
    base: String,
    /// The active node, when the endpoint last said which it is.
    leader: Arc<Mutex<Option<Url>>>,
    /// What the answer to our last write said.
    index: Arc<Mutex<Option<HeaderValue>>>,
    clock: Arc<dyn Clock>,
}

/// Who serves requests, as the endpoint tells.
#[derive(Debug, Deserialize)]
struct Leader {
    #[serde(default)]
    ha_enabled: bool,
    #[serde(default)]
    is_self: bool,
    #[serde(default, rename = "leader_address")]
    address: String,
}

/// In whose name a request is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender<'a> {
    pub(crate) token: Option<&'a HeaderValue>,
    pub(crate) namespace: Option<&'a HeaderValue>,
}

/// When an operation is over, whatever it is waiting for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Transport {
    pub(crate) fn new(
        settings: &VaultKeystore,
        proxies: &Proxies,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let tls = tls::client_config(settings).map_err(OpenError::Tls)?;
        // Redirects are ours to follow: they carry the token.
        let builder = kes_outbound::client_builder(tls, proxies)
            .user_agent(concat!("kes/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_user_timeout(RECEIPT_TIMEOUT)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING_TIMEOUT);
        let client = builder.build().map_err(OpenError::Client)?;
        let (leader, index) = (Arc::default(), Arc::default());
        Ok(Self { client, base: settings.endpoint.clone(), leader, index, clock })
    }

    /// The way to the active node, if the endpoint is not it: a node that lags behind does not know
    /// what is not there. None where the endpoint speaks for all.
    pub(crate) async fn to_active(&self, deadline: Deadline) -> Result<Option<Self>, VaultError> {
        let call = Call::get("sys/leader");
        let answer = self.send(&call, Sender::default(), deadline).await?;
        if !answer.is_success() {
            return Err(answer.into_error());
        }
        let leader: Leader = answer.parse()?;
        if !leader.ha_enabled || leader.is_self {
            return Ok(None);
        }
        let base = parse(&self.base)?;
        let address = Url::parse(&leader.address).ok().filter(|to| !is_weaker(&base, to));
        let address = address.ok_or(VaultError::NoActiveNode(leader.address))?;
        let base = address.as_str().trim_end_matches('/').to_owned();
        Ok(Some(Self { base, ..self.clone() }))
    }

    /// The end of an operation that starts now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline(self.clock.monotonic() + OPERATION_TIMEOUT)
    }

    /// What is left until then.
    fn left(&self, deadline: Deadline) -> Duration {
        deadline.0.saturating_duration_since(self.clock.monotonic())
    }

    /// Waits, where there is time enough to do something afterwards; tells whether it did.
    pub(crate) async fn wait(&self, time: Duration, deadline: Deadline) -> bool {
        let has_time = time < self.left(deadline);
        if has_time {
            tokio::time::sleep(time).await;
        }
        has_time
    }

    /// Waits for something until the operation is over.
    pub(crate) async fn within<T>(
        &self,
        deadline: Deadline,
        future: impl Future<Output = T> + Send,
    ) -> Option<T> {
        tokio::time::timeout(self.left(deadline), future).await.ok()
    }

    /// Sends a request and reads its answer, whatever its status. Follows redirects to Vault's own
    /// nodes; asks again, once, when a connection broke under a request that may be repeated.
    pub(crate) async fn send(
        &self,
        call: &Call,
        sender: Sender<'_>,
        deadline: Deadline,
    ) -> Result<Answer, VaultError> {
        let exchange = self.exchange(call, sender);
        match self.within(deadline, exchange).await {
            Some(result) => result,
            None => Err(timed_out(call)),
        }
    }

    async fn exchange(&self, call: &Call, sender: Sender<'_>) -> Result<Answer, VaultError> {
        let first = self.follow(call, sender).await;
        match first {
            // A connection that had ended without our knowledge.
            Err(VaultError::Transport(_, error)) if call.is_idempotent() && !error.is_connect() => {
                tracing::debug!(target = %call.target, "asked again on a new connection");
                self.follow(call, sender).await
            }
            result => result,
        }
    }

    async fn follow(&self, call: &Call, sender: Sender<'_>) -> Result<Answer, VaultError> {
        let mut url = parse(&call.url(&self.base))?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.request(call, &url, sender).await?;
            let Some(location) = redirection(&response) else {
                return read(call, response).await;
            };
            url = self.redirected(call, &url, location).await?;
        }
        Err(VaultError::Redirected { target: call.target.clone(), location: url.to_string() })
    }

    async fn request(
        &self,
        call: &Call,
        url: &Url,
        sender: Sender<'_>,
    ) -> Result<Response, VaultError> {
        let mut request = self
            .client
            .request(call.target.method.clone(), url.clone())
            .header(REQUEST, HeaderValue::from_static("true"));
        if let Some(token) = sender.token {
            request = request.header(TOKEN, token);
            if let Some(index) = lock(&self.index).clone() {
                request = request.header(INDEX, index).header(INCONSISTENT, FORWARD);
            }
        }
        if let Some(namespace) = sender.namespace {
            request = request.header(NAMESPACE, namespace);
        }
        if !call.body.expose().is_empty() {
            request = request
                .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
                .body(call.body.expose().to_vec());
        }
        let response = request.send().await;
        let response = response.map_err(|error| failed(&call.target, error))?;
        let index = response.headers().get(INDEX);
        if response.status() == StatusCode::PRECONDITION_FAILED {
            // Whatever was asked for, it is not to be had, from another cluster for one.
            *lock(&self.index) = None;
        } else if let Some(index) = index {
            *lock(&self.index) = Some(index.clone());
        }
        Ok(response)
    }

    /// Where a redirect leads, if it leads to one of Vault's own nodes: the endpoint's host, or the
    /// active node that the endpoint names, over no weaker a connection, to the same path.
    async fn redirected(
        &self,
        call: &Call,
        from: &Url,
        location: &HeaderValue,
    ) -> Result<Url, VaultError> {
        let shown = String::from_utf8_lossy(location.as_bytes()).into_owned();
        let refused = || VaultError::Redirected {
            target: call.target.clone(),
            location: shown.chars().take(200).collect(),
        };
        let to = from.join(&shown).map_err(|_| refused())?;
        if is_weaker(from, &to) || to.path() != from.path() || to.query() != from.query() {
            return Err(refused());
        }
        let is_known = |node: &Url| is_same_host(node, &to);
        let leader = || lock(&self.leader).clone();
        if is_known(&parse(&self.base)?) || leader().as_ref().is_some_and(is_known) {
            return Ok(to);
        }
        let named = self.ask_for_leader().await?;
        let is_leader = named.as_ref().is_some_and(is_known);
        *lock(&self.leader) = named;
        if is_leader { Ok(to) } else { Err(refused()) }
    }

    /// Which node the endpoint says is active. Needs no token, and must not get one.
    async fn ask_for_leader(&self) -> Result<Option<Url>, VaultError> {
        let call = Call::get("sys/leader");
        let url = parse(&call.url(&self.base))?;
        let answer = read(&call, self.request(&call, &url, Sender::default()).await?).await?;
        let leader: Leader = answer.parse()?;
        Ok(Url::parse(&leader.address).ok())
    }
}

/// The error of an operation whose time is over.
pub(crate) fn timed_out(call: &Call) -> VaultError {
    VaultError::TimedOut { target: call.target.clone(), within: OPERATION_TIMEOUT }
}

/// Every operation leaves these values whole, so a panic elsewhere does not taint them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a token that goes there is less safe than here.
fn is_weaker(here: &Url, there: &Url) -> bool {
    here.scheme() == "https" && there.scheme() != "https"
}

fn is_same_host(a: &Url, b: &Url) -> bool {
    a.host_str().is_some() && a.host_str() == b.host_str()
}

fn parse(url: &str) -> Result<Url, VaultError> {
    Url::parse(url).map_err(|error| VaultError::Request(Arc::new(error)))
}

fn failed(target: &Target, error: reqwest::Error) -> VaultError {
    VaultError::Transport(target.clone(), Failure::new(error, tls::SIDE))
}

fn redirection(response: &Response) -> Option<&HeaderValue> {
    match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
            response.headers().get(header::LOCATION)
        }
        _ => None,
    }
}

async fn read(call: &Call, mut response: Response) -> Result<Answer, VaultError> {
    let target = &call.target;
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(|seconds: u64| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    let bytes_max = call.answer_len_max;
    let length = response.content_length().and_then(|length| usize::try_from(length).ok());
    let mut body = Vec::with_capacity(length.unwrap_or(0).min(bytes_max));
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(target, error))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(VaultError::TooLong { target: target.clone(), bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { target: target.clone(), status, retry_after, body: Secret::new(body) })
}

#[cfg(test)]
mod tests {
    use kes_types::SystemClock;
    use vaultrs::api::kv2::requests::ReadSecretRequest;

    use super::*;
    use crate::canned::{self, Server};

    const READ: &str = "GET /v1/kv/data/key";
    const LEADER: &str = "GET /v1/sys/leader";

    fn read_call() -> Call {
        let (mount, path) = ("kv".to_owned(), "key".to_owned());
        Call::of(&ReadSecretRequest { mount, path, version: None }).unwrap()
    }

    async fn send(server: &Server, call: &Call) -> Result<Answer, VaultError> {
        let transport =
            Transport::new(&server.settings(), &Proxies::default(), Arc::new(SystemClock)).unwrap();
        let token = HeaderValue::from_static("hunter2");
        let sender = Sender { token: Some(&token), namespace: None };
        transport.send(call, sender, transport.deadline()).await
    }

    fn lines(server: &Server) -> Vec<String> {
        server.seen().into_iter().map(|request| request[0].clone()).collect()
    }

    fn redirect(to: &str) -> canned::Canned {
        canned::json(307, &format!("Location: {to}\r\n"), "")
    }

    #[tokio::test]
    async fn a_standby_s_redirect_to_the_same_host_is_followed_with_the_token() {
        let active = Server::start(|_, _| canned::json(200, "", "{}")).await;
        let to = format!("http://{}/v1/kv/data/key", active.address);
        let standby = Server::start(move |_, _| redirect(&to)).await;
        assert_eq!(send(&standby, &read_call()).await.unwrap().status, 200);
        assert!(active.seen()[0].contains(&"x-vault-token: hunter2".to_owned()));
        assert_eq!(lines(&standby), [READ]);
    }

    #[tokio::test]
    async fn a_redirect_to_another_host_is_followed_only_to_the_node_that_vault_names() {
        for is_leader in [true, false] {
            let active = Server::start(|_, _| canned::json(200, "", "{}")).await;
            // The same machine, under a name that is not the endpoint's.
            let other = format!("http://localhost:{}", active.address.port());
            let leader = if is_leader { other.clone() } else { "http://vault-2:8200".to_owned() };
            let standby = Server::start(move |line, _| match line {
                LEADER => canned::json(200, "", &format!(r#"{{"leader_address":"{leader}"}}"#)),
                _ => redirect(&format!("{other}/v1/kv/data/key")),
            })
            .await;
            let result = send(&standby, &read_call()).await;
            assert_eq!(result.is_ok(), is_leader, "{result:?}");
            assert_eq!(active.seen().len(), usize::from(is_leader));
            assert_eq!(lines(&standby), [READ, LEADER]);
            assert!(!standby.seen()[1].iter().any(|line| line.contains("hunter2")));
        }
    }

    #[tokio::test]
    async fn a_redirect_to_another_path_and_one_without_end_are_refused() {
        let elsewhere = Server::start(|_, _| redirect("/v1/sys/raw")).await;
        let error = send(&elsewhere, &read_call()).await.unwrap_err();
        assert!(matches!(error, VaultError::Redirected { .. }), "{error:?}");
        assert_eq!(lines(&elsewhere), [READ]);
        let circle = Server::start(|_, _| redirect("/v1/kv/data/key")).await;
        let error = send(&circle, &read_call()).await.unwrap_err();
        assert!(matches!(error, VaultError::Redirected { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_replaced_once_and_for_reads_alone() {
        let flaky = |_: &str, before| {
            if before == 0 { canned::hang_up() } else { canned::json(200, "", "{}") }
        };
        let server = Server::start(flaky).await;
        assert_eq!(send(&server, &read_call()).await.unwrap().status, 200);
        let server = Server::start(flaky).await;
        assert!(send(&server, &read_call().put()).await.is_err());
        assert_eq!(server.seen().len(), 1);
        let broken = Server::start(|_, _| canned::hang_up()).await;
        assert!(send(&broken, &read_call()).await.is_err());
        assert_eq!(broken.seen().len(), 2);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let server = Server::start(|_, _| canned::json(200, "", &"x".repeat(9 << 20))).await;
        let error = send(&server, &read_call()).await.unwrap_err();
        assert!(matches!(error, VaultError::TooLong { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn errors_show_neither_the_token_nor_the_url() {
        let broken = Server::start(|_, _| canned::hang_up()).await;
        let error = send(&broken, &read_call()).await.unwrap_err();
        let shown = format!("{error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("http://"), "{shown}");
    }

    #[tokio::test]
    async fn what_we_wrote_is_to_be_seen_by_whichever_node_answers() {
        let server =
            Server::start(|_, _| canned::json(200, "X-Vault-Index: seven\r\n", "{}")).await;
        let transport =
            Transport::new(&server.settings(), &Proxies::default(), Arc::new(SystemClock)).unwrap();
        let token = HeaderValue::from_static("t");
        let sender = Sender { token: Some(&token), namespace: None };
        for _ in 0..2 {
            transport.send(&read_call(), sender, transport.deadline()).await.unwrap();
        }
        let [first, second] = server.seen().try_into().unwrap();
        assert!(!first.iter().any(|line| line.starts_with("x-vault-index")));
        for line in ["x-vault-index: seven", "x-vault-inconsistent: forward-active-node"] {
            assert!(second.iter().any(|seen| seen == line), "{second:?}");
        }
    }
}
