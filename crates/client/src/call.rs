//! One call: a request to the servers in turn, and its answer.

use std::error::Error as _;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy;
use kes_types::wire::ErrorBody;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::connector::ConnectError;
use crate::endpoint::Endpoint;
use crate::error::{Attempt, ClientError};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// The media type of every body.
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How the client calls itself.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("kes/", env!("CARGO_PKG_VERSION")));

impl Client {
    /// Calls without a body, for an answer in JSON.
    pub(crate) async fn fetch<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<A, ClientError> {
        self.call(method, path, None).await?.json()
    }

    /// Calls without a body, for no answer but success.
    pub(crate) async fn order(&self, method: Method, path: &str) -> Result<(), ClientError> {
        self.call(method, path, None).await.map(drop)
    }

    /// Puts a JSON body, for an answer in JSON.
    pub(crate) async fn put<B: Serialize + Sync, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<A, ClientError> {
        self.call(Method::PUT, path, Some(encode(body)?)).await?.json()
    }

    /// Puts a JSON body, for no answer but success.
    pub(crate) async fn submit<B: Serialize + Sync>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<(), ClientError> {
        self.call(Method::PUT, path, Some(encode(body)?)).await.map(drop)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Answer, ClientError> {
        let limit = self.call_timeout;
        match timeout(limit, self.call_in_turn(method, path, body)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(ClientError::TimedOut(limit)),
        }
    }

    /// Asks the servers in order until one gives a final answer.
    async fn call_in_turn(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Answer, ClientError> {
        let mut attempts = Vec::new();
        let mut fault = None;
        for endpoint in &*self.endpoints {
            match self.exchange(endpoint, &method, path, body.clone()).await {
                Ok(answer) if answer.is_fault() => fault = Some(answer),
                Ok(answer) => return answer.success(),
                Err(Failure::Connect(error)) => {
                    attempts.push(Attempt { endpoint: endpoint.clone(), error });
                }
                Err(Failure::Final(error)) => return Err(error),
            }
        }
        match fault {
            Some(answer) => answer.success(),
            None => Err(ClientError::no_server(attempts)),
        }
    }

    /// One request to one server.
    async fn exchange(
        &self,
        endpoint: &Endpoint,
        method: &Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Answer, Failure> {
        let request = request(endpoint, method, path, body)
            .map_err(|error| Failure::Final(ClientError::Request(error.into())))?;
        let response = self.http.request(request).await;
        let response = response.map_err(|error| Failure::of(endpoint, error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|source| {
            let endpoint = endpoint.clone();
            Failure::Final(if source.is::<http_body_util::LengthLimitError>() {
                ClientError::BadAnswer { endpoint, source }
            } else {
                ClientError::Interrupted { endpoint, source }
            })
        })?;
        Ok(Answer { endpoint: endpoint.clone(), status: head.status, body: body.to_bytes() })
    }
}

/// A server's answer, of whatever status.
#[derive(Debug)]
struct Answer {
    endpoint: Endpoint,
    status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// Whether the next server should be asked: a 5xx, but for "not implemented", which all share.
    fn is_fault(&self) -> bool {
        self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED
    }

    /// The answer itself if it is a success; success is 200 and nothing else.
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

    fn json<A: DeserializeOwned>(self) -> Result<A, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            // The parser's own message may quote the answer, which may hold a plaintext.
            let (line, column) = (error.line(), error.column());
            let source = Box::new(NotTheAnswer { line, column });
            ClientError::BadAnswer { endpoint: self.endpoint, source }
        })
    }
}

/// Why one server gave no answer.
#[derive(Debug)]
enum Failure {
    /// Nothing was sent: the next server may be asked.
    Connect(ConnectError),
    /// Something may have been sent, or nobody can help.
    Final(ClientError),
}

impl Failure {
    fn of(endpoint: &Endpoint, error: legacy::Error) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(error) = inner.downcast_ref::<ConnectError>() {
                return Self::Connect(error.clone());
            }
            cause = inner.source();
        }
        let endpoint = endpoint.clone();
        Self::Final(ClientError::Interrupted { endpoint, source: error.into() })
    }
}

/// An answer that is not the JSON asked for.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not the JSON asked for (line {line}, column {column})")]
struct NotTheAnswer {
    line: usize,
    column: usize,
}

fn request(
    endpoint: &Endpoint,
    method: &Method,
    path: &str,
    body: Option<Bytes>,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let request = Request::builder()
        .method(method)
        .uri(format!("{endpoint}{path}"))
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, JSON);
    match body {
        Some(body) => request.header(CONTENT_TYPE, JSON).body(Full::new(body)),
        None => request.body(Full::default()),
    }
}

/// Writes a body whose bytes are wiped once it is sent.
fn encode<B: Serialize>(body: &B) -> Result<Bytes, ClientError> {
    let json = serde_json::to_vec(body).map_err(|error| ClientError::Request(error.into()))?;
    Ok(Bytes::from_owner(Zeroizing::new(json)))
}
