//! One call: a request to the servers in turn, and its answer.

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
/// What would cure a failed handshake, by its general name: how it is set is the caller's business.
const SIDE: Side = Side::Client {
    trust: "the trusted certificates",
    identity: "a client certificate that the server accepts",
};

impl Client {
    /// Calls without a body, for an answer in JSON.
    pub(crate) async fn fetch<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<A, ClientError> {
        self.call(method, path, None).await?.json()
    }

    /// Calls without a body, for an answer in JSON and the server's certificate in DER, which is not
    /// known of a connection through a proxy.
    pub(crate) async fn fetch_with_certificate<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(A, Option<Vec<u8>>), ClientError> {
        let mut answer = self.call(method, path, None).await?;
        let certificate = answer.certificate.take();
        Ok((answer.json()?, certificate))
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
        let limit = self.timeouts.call;
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
        let url = format!("{endpoint}{path}");
        let request = self.http.request(method.clone(), url).header(ACCEPT, JSON);
        let request = match body {
            Some(body) => request.header(CONTENT_TYPE, JSON).body(body),
            None => request,
        };
        let response = request.send().await;
        let response = response.map_err(|error| self.failure(endpoint, error))?;
        let certificate = response.extensions().get::<TlsInfo>();
        let certificate = certificate.and_then(TlsInfo::peer_certificate).map(<[u8]>::to_vec);
        let status = response.status();
        let body = self.read(endpoint, response).await?;
        Ok(Answer { endpoint: endpoint.clone(), status, certificate, body })
    }

    /// Reads the body of an answer.
    async fn read(
        &self,
        endpoint: &Endpoint,
        mut response: Response,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let expected = response.content_length().and_then(|length| usize::try_from(length).ok());
        // In one piece: a buffer that grows leaves copies behind.
        let expected = expected.unwrap_or_default().min(ANSWER_BYTES_MAX);
        let mut body = Zeroizing::new(Vec::with_capacity(expected));
        loop {
            let chunk = response.chunk().await.map_err(|error| self.failure(endpoint, error))?;
            let Some(chunk) = chunk else { return Ok(body) };
            if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
                let (endpoint, source) = (endpoint.clone(), TooLong.into());
                return Err(Failure::Final(ClientError::BadAnswer { endpoint, source }));
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Why a server gave no answer.
    fn failure(&self, endpoint: &Endpoint, error: reqwest::Error) -> Failure {
        if error.is_builder() {
            return Failure::Final(ClientError::Request(error.without_url().into()));
        }
        let failure = kes_outbound::Failure::new(error, SIDE);
        if failure.is_connect() {
            return Failure::Connect(ConnectError::new(&failure, self.timeouts.connect));
        }
        let (endpoint, source) = (endpoint.clone(), Cause::of(&failure).into());
        Failure::Final(ClientError::Interrupted { endpoint, source })
    }
}

/// A server's answer, of whatever status.
struct Answer {
    endpoint: Endpoint,
    status: StatusCode,
    /// The server's certificate in DER, if it is known.
    certificate: Option<Vec<u8>>,
    body: Zeroizing<Vec<u8>>,
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

/// An answer that is longer than any that is expected.
#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than {} KiB", ANSWER_BYTES_MAX / 1024)]
struct TooLong;

/// An answer that is not the JSON asked for.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not the JSON asked for (line {line}, column {column})")]
struct NotTheAnswer {
    line: usize,
    column: usize,
}

/// Writes a body whose bytes are wiped once it is sent.
fn encode<B: Serialize>(body: &B) -> Result<Bytes, ClientError> {
    let json = serde_json::to_vec(body).map_err(|error| ClientError::Request(error.into()))?;
    Ok(Bytes::from_owner(Zeroizing::new(json)))
}
