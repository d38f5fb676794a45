//! Sends HTTP requests to Vault, with one connection pool, limits and timeouts.

pub(crate) mod redirect;
pub(crate) mod request;
pub(crate) mod response;
mod tls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, header};
use kes_config::VaultKeystore;
use kes_outbound::{Failure, Proxies};
use kes_store::Deadline;
use kes_types::{Secret, lock};
use reqwest::{Client, Response, Url};

use crate::error::{OpenError, VaultError};
use crate::http::redirect::redirection;
use crate::http::request::{RequestTarget, VaultRequest};
use crate::http::response::VaultResponse;

/// The timeout of an operation on the store, including all its requests and waits.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The idle timeout of a connection: less than that of load balancers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The settings that detect a dead connection while there is time left to send the request on
/// another one: the interval of HTTP/2 pings, their timeout, and the time in which sent data must
/// be acknowledged.
const PING: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(3);
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(4);

/// The maximum `Retry-After` that is followed.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// The maximum number of redirects: a standby redirects to the active node, which may have changed
/// in between.
const REDIRECTS_MAX: usize = 2;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault can be configured to refuse requests without this header, as a protection against forged
/// requests.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// The replication state that a node must have reached to respond. A node that lags behind forwards
/// the request to the active node; otherwise it would not see the last write of this server.
const INDEX: HeaderName = HeaderName::from_static("x-vault-index");
const INCONSISTENT: HeaderName = HeaderName::from_static("x-vault-inconsistent");
const FORWARD: HeaderValue = HeaderValue::from_static("forward-active-node");

/// Sends requests to Vault.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    client: Client,
    /// The URL of Vault, without `/v1`.
    pub(super) base: String,
    /// The active node that the endpoint reported last.
    pub(super) leader: Arc<Mutex<Option<Url>>>,
    /// The replication state in the response to the last write.
    index: Arc<Mutex<Option<HeaderValue>>>,
}

/// The token and the namespace of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sender<'a> {
    pub(crate) token: Option<&'a HeaderValue>,
    pub(crate) namespace: Option<&'a HeaderValue>,
}

impl Transport {
    pub(crate) fn new(settings: &VaultKeystore, proxies: &Proxies) -> Result<Self, OpenError> {
        let tls = tls::client_config(settings).map_err(OpenError::Tls)?;
        // The client does not follow redirects; this module does, because they carry the token.
        let builder = kes_outbound::client_builder(tls, proxies)
            .user_agent(concat!("kes/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_user_timeout(RECEIPT_TIMEOUT)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING_TIMEOUT);
        let client = builder.build().map_err(OpenError::Client)?;
        let (leader, index) = (Arc::default(), Arc::default());
        Ok(Self { client, base: settings.endpoint.clone(), leader, index })
    }

    /// Sends a request and reads the response, whatever its status. Follows redirects to nodes of
    /// the same Vault. If the connection breaks during an idempotent request, the request is sent
    /// once more.
    pub(crate) async fn send(
        &self,
        call: &VaultRequest,
        sender: Sender<'_>,
        deadline: Deadline,
    ) -> Result<VaultResponse, VaultError> {
        let exchange = self.exchange(call, sender);
        deadline.run(exchange).await.unwrap_or_else(|| Err(timed_out(call)))
    }

    async fn exchange(
        &self,
        call: &VaultRequest,
        sender: Sender<'_>,
    ) -> Result<VaultResponse, VaultError> {
        let first = self.follow(call, sender).await;
        match first {
            // The server had closed the connection, and the client did not know yet.
            Err(VaultError::Transport(_, error)) if call.is_idempotent() && !error.is_connect() => {
                tracing::debug!(target = %call.target, "asked again on a new connection");
                self.follow(call, sender).await
            }
            result => result,
        }
    }

    async fn follow(
        &self,
        call: &VaultRequest,
        sender: Sender<'_>,
    ) -> Result<VaultResponse, VaultError> {
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

    pub(super) async fn request(
        &self,
        call: &VaultRequest,
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
            // No node can reach this state, for example because it is from another cluster.
            *lock(&self.index) = None;
        } else if let Some(index) = index {
            *lock(&self.index) = Some(index.clone());
        }
        Ok(response)
    }
}

/// Returns the deadline of an operation that starts now.
pub(crate) fn deadline() -> Deadline {
    Deadline::after(OPERATION_TIMEOUT)
}

/// Returns the error of an operation that timed out.
pub(crate) fn timed_out(call: &VaultRequest) -> VaultError {
    VaultError::TimedOut { target: call.target.clone(), within: OPERATION_TIMEOUT }
}

pub(super) fn parse(url: &str) -> Result<Url, VaultError> {
    Url::parse(url).map_err(|error| VaultError::Request(Arc::new(error)))
}

fn failed(target: &RequestTarget, error: reqwest::Error) -> VaultError {
    VaultError::Transport(target.clone(), Failure::new(error, tls::SIDE))
}

pub(super) async fn read(
    call: &VaultRequest,
    mut response: Response,
) -> Result<VaultResponse, VaultError> {
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
    Ok(VaultResponse { target: target.clone(), status, retry_after, body: Secret::new(body) })
}

#[cfg(test)]
mod tests {
    use vaultrs::api::kv2::requests::ReadSecretRequest;

    use super::*;
    use crate::fake::{self, Server};

    pub(super) const READ: &str = "GET /v1/kv/data/key";

    pub(super) fn read_call() -> VaultRequest {
        let (mount, path) = ("kv".to_owned(), "key".to_owned());
        VaultRequest::of(&ReadSecretRequest { mount, path, version: None }).unwrap()
    }

    pub(super) async fn send(
        server: &Server,
        call: &VaultRequest,
    ) -> Result<VaultResponse, VaultError> {
        let transport = Transport::new(&server.settings(), &Proxies::default()).unwrap();
        let token = HeaderValue::from_static("hunter2");
        let sender = Sender { token: Some(&token), namespace: None };
        transport.send(call, sender, deadline()).await
    }

    pub(super) fn lines(server: &Server) -> Vec<String> {
        server.seen().into_iter().map(|request| request[0].clone()).collect()
    }

    #[tokio::test]
    async fn a_connection_that_breaks_is_replaced_once_and_for_reads_alone() {
        let flaky = |_: &str, before| {
            if before == 0 { fake::hang_up() } else { fake::json(200, "", "{}") }
        };
        let server = Server::start(flaky).await;
        assert_eq!(send(&server, &read_call()).await.unwrap().status, 200);
        let server = Server::start(flaky).await;
        assert!(send(&server, &read_call().put()).await.is_err());
        assert_eq!(server.seen().len(), 1);
        let broken = Server::start(|_, _| fake::hang_up()).await;
        assert!(send(&broken, &read_call()).await.is_err());
        assert_eq!(broken.seen().len(), 2);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let server = Server::start(|_, _| fake::json(200, "", &"x".repeat(9 << 20))).await;
        let error = send(&server, &read_call()).await.unwrap_err();
        assert!(matches!(error, VaultError::TooLong { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn errors_show_neither_the_token_nor_the_url() {
        let broken = Server::start(|_, _| fake::hang_up()).await;
        let error = send(&broken, &read_call()).await.unwrap_err();
        let shown = format!("{error:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("http://"), "{shown}");
    }

    #[tokio::test]
    async fn what_we_wrote_is_to_be_seen_by_whichever_node_answers() {
        let server = Server::start(|_, _| fake::json(200, "X-Vault-Index: seven\r\n", "{}")).await;
        let transport = Transport::new(&server.settings(), &Proxies::default()).unwrap();
        let token = HeaderValue::from_static("t");
        let sender = Sender { token: Some(&token), namespace: None };
        for _ in 0..2 {
            transport.send(&read_call(), sender, deadline()).await.unwrap();
        }
        let [first, second] = server.seen().try_into().unwrap();
        assert!(!first.iter().any(|line| line.starts_with("x-vault-index")));
        for line in ["x-vault-index: seven", "x-vault-inconsistent: forward-active-node"] {
            assert!(second.iter().any(|seen| seen == line), "{second:?}");
        }
    }
}
