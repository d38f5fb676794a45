//! Sends a request to the servers in order until one answers, and reads the answer.

use std::pin::Pin;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use kes_tls::Side;
use kes_types::wire::ErrorBody;
use reqwest::Response;
use reqwest::tls::TlsInfo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::error::{Attempt, Cause, ClientError, ConnectError};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// The media type of every body.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Names of the settings that can make a handshake succeed, for error messages. They are general,
/// for callers set them in different ways.
const SIDE: Side = Side::Client {
    trust: "the trusted certificates",
    identity: "a client certificate that the server accepts",
};

impl Client {
    /// Sends a GET request and parses the JSON of the answer.
    pub(crate) async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        self.call(Method::GET, path, None).await?.json()
    }

    /// Sends a PUT request with a JSON body and parses the JSON of the answer.
    pub(crate) async fn put<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<A, ClientError> {
        self.call(Method::PUT, path, Some(encode(body)?)).await?.json()
    }

    /// Sends a request within the time limit of a call and returns a successful answer.
    ///
    /// The future is boxed so that its code is compiled once, in this crate: that of an `async fn` is
    /// compiled in each crate that awaits it.
    pub(crate) fn call<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        body: Option<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<ServerAnswer, ClientError>> + Send + 'a>> {
        let limit = self.timeouts.call;
        Box::pin(async move {
            match timeout(limit, self.call_in_order(method, path, body)).await {
                Ok(answer) => answer,
                Err(_elapsed) => Err(ClientError::TimedOut(limit)),
            }
        })
    }

    /// Sends the request to each server in order until one gives a final answer (failover).
    async fn call_in_order(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<ServerAnswer, ClientError> {
        let mut attempts = Vec::new();
        let mut fault = None;
        for endpoint in &*self.endpoints {
            match self.call_one(endpoint, &method, path, body.clone()).await {
                Ok(answer) if answer.is_fault() => fault = Some(answer),
                Ok(answer) => return answer.success(),
                Err(AttemptError::Connect(error)) => {
                    attempts.push(Attempt { endpoint: endpoint.clone(), error });
                }
                Err(AttemptError::Final(error)) => return Err(error),
            }
        }
        match fault {
            Some(answer) => answer.success(),
            None => Err(ClientError::no_server(attempts)),
        }
    }

    /// Sends the request to one server and reads its answer.
    async fn call_one(
        &self,
        endpoint: &Endpoint,
        method: &Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<ServerAnswer, AttemptError> {
        let url = format!("{endpoint}{path}");
        let request = self.http.request(method.clone(), url).header(ACCEPT, JSON);
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, JSON).body(body),
            None => request,
        };
        let response = request.send().await;
        let response = response.map_err(|error| self.attempt_error(endpoint, error))?;
        let certificate = response.extensions().get::<TlsInfo>();
        let certificate = certificate.and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec);
        let status = response.status();
        let body = self.read(endpoint, response).await?;
        Ok(ServerAnswer { endpoint: endpoint.clone(), status, certificate, body })
    }

    /// Reads the body of an answer, up to [`ANSWER_BYTES_MAX`].
    async fn read(
        &self,
        endpoint: &Endpoint,
        mut response: Response,
    ) -> Result<Zeroizing<Vec<u8>>, AttemptError> {
        let expected = response.content_length().and_then(|length| usize::try_from(length).ok());
        // Allocated once, since a buffer that grows leaves copies of secrets in memory.
        let expected = expected.unwrap_or_default().min(ANSWER_BYTES_MAX);
        let mut body = Zeroizing::new(Vec::with_capacity(expected));
        loop {
            let chunk =
                response.chunk().await.map_err(|error| self.attempt_error(endpoint, error))?;
            let Some(chunk) = chunk else { return Ok(body) };
            if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
                let (endpoint, source) = (endpoint.clone(), AnswerTooLong.into());
                return Err(AttemptError::Final(ClientError::BadAnswer { endpoint, source }));
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Classifies an error of the HTTP library.
    fn attempt_error(&self, endpoint: &Endpoint, error: reqwest::Error) -> AttemptError {
        if error.is_builder() {
            return AttemptError::Final(ClientError::Request(error.without_url().into()));
        }
        let failure = kes_outbound::Failure::new(error, SIDE);
        if failure.is_connect() {
            return AttemptError::Connect(ConnectError::new(&failure, self.timeouts.connect));
        }
        let (endpoint, source) = (endpoint.clone(), Cause::of(&failure).into());
        AttemptError::Final(ClientError::Interrupted { endpoint, source })
    }
}

/// A server's answer with any status.
pub(crate) struct ServerAnswer {
    endpoint: Endpoint,
    status: StatusCode,
    /// The server's certificate in DER; none through a proxy.
    pub(crate) certificate: Option<Vec<u8>>,
    body: Zeroizing<Vec<u8>>,
}

impl ServerAnswer {
    /// Whether the next server is tried: after a 5xx other than 501 ("not implemented"), which all
    /// servers would answer.
    fn is_fault(&self) -> bool {
        self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED
    }

    /// Returns the answer if its status is 200, the only one that means success.
    fn success(self) -> Result<Self, ClientError> {
        if self.status == StatusCode::OK {
            return Ok(self);
        }
        let message = match serde_json::from_slice::<ErrorBody>(&self.body) {
            Ok(body) => body.message,
            Err(_) => self.status.canonical_reason().unwrap_or("unexpected status").to_owned(),
        };
        Err(ClientError::Status { code: self.status, message })
    }

    /// Parses the body.
    pub(crate) fn json<A: DeserializeOwned>(self) -> Result<A, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The parser's own message may quote the answer, which may hold a plaintext.
            let (line, column) = (error.line(), error.column());
            let source = Box::new(UnexpectedJson { line, column });
            ClientError::BadAnswer { endpoint: self.endpoint, source }
        })
    }
}

/// An error of the request to one server.
#[derive(Debug)]
enum AttemptError {
    /// Nothing was sent: the next server is tried.
    Connect(ConnectError),
    /// The request may have been sent, or another server would not help.
    Final(ClientError),
}

/// An answer longer than [`ANSWER_BYTES_MAX`].
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {} KiB", ANSWER_BYTES_MAX / 1024)]
struct AnswerTooLong;

/// An answer that is not the expected JSON.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not the JSON asked for (line {line}, column {column})")]
struct UnexpectedJson {
    line: usize,
    column: usize,
}

/// Serializes a body into a buffer that is wiped when it is dropped.
pub(crate) fn encode<B: Serialize>(body: &B) -> Result<Bytes, ClientError> {
    let json = serde_json::to_vec(body).map_err(|error| ClientError::Request(error.into()))?;
    Ok(Bytes::from_owner(Zeroizing::new(json)))
}
