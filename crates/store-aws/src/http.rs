//! Sends HTTPS requests to AWS, with one connection pool for all services and all sources of
//! credentials.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use kes_outbound::{Failure, FailureKind, Proxies};
use kes_tls::{ClientConfig, ClientTlsError, ServerTrust, Side};
use kes_types::lock;
use reqwest::{Body, Client, Request};

use crate::error::sanitized::SanitizedError;

/// The settings that an operator can correct when a TLS handshake fails.
const SIDE: Side = Side::Client {
    trust: "the system's trusted certificates, or to the file that SSL_CERT_FILE names",
    identity: "",
};

/// The addresses of credential endpoints of tasks, pods and instances, which are never reached
/// through a proxy: a proxy would see the credentials, or respond with its own.
const CREDENTIAL_SOURCES: [&str; 3] = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::/32"];

/// The maximum length of a response, in bytes. The longest response of AWS is a page of a hundred
/// secrets with fifty tags each, about 4 MiB.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Creates connectors, one for each set of timeouts, because each connector has its own connection
/// pool.
#[derive(Debug)]
pub(crate) struct Http {
    tls: ClientConfig,
    proxies: Proxies,
    connectors: Mutex<HashMap<Timeouts, Pool>>,
}

/// The timeouts for connecting and reading, which identify a connector.
type Timeouts = (Option<Duration>, Option<Duration>);

impl Http {
    /// Creates the client for a Secrets Manager at `endpoint`.
    pub(crate) fn new(endpoint: &str, proxies: Proxies) -> Result<Self, ClientTlsError> {
        let trust = match kes_tls::client_config(&ServerTrust::SystemRoots, None) {
            // The endpoint is an emulator without TLS, on a system without certificates.
            Err(ClientTlsError::Trust(_)) if endpoint.starts_with("http://") => {
                kes_tls::client_config(&ServerTrust::Certificates(Vec::new()), None)
            }
            config => config,
        };
        Ok(Self {
            tls: trust?,
            proxies: proxies.and_direct(&CREDENTIAL_SOURCES),
            connectors: Mutex::default(),
        })
    }

    fn pool(&self, timeouts: Timeouts) -> Pool {
        let mut builder = kes_outbound::client_builder(self.tls.clone(), &self.proxies);
        if let Some(timeout) = timeouts.0 {
            builder = builder.connect_timeout(timeout);
        }
        if let Some(timeout) = timeouts.1 {
            builder = builder.read_timeout(timeout);
        }
        let client = builder.build().map_err(|error| SanitizedError::of(&error));
        Pool { client: Arc::new(client), is_suspect: Arc::default() }
    }
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let mut connectors = lock(&self.connectors);
        let pool = connectors.entry(timeouts).or_insert_with(|| self.pool(timeouts));
        if pool.is_suspect.load(Ordering::Relaxed) {
            *pool = self.pool(timeouts);
        }
        SharedHttpConnector::new(pool.clone())
    }
}

/// A connector with its own connection pool.
#[derive(Clone, Debug)]
struct Pool {
    /// The HTTP client, or the error of its creation.
    client: Arc<Result<Client, SanitizedError>>,
    /// Whether a request was cancelled before its response. With HTTP/2 all requests share one
    /// connection, and a dead one can stay in the pool undetected, so the next request uses a new
    /// pool.
    is_suspect: Arc<AtomicBool>,
}

impl HttpConnector for Pool {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = Arc::clone(&self.client);
        let wait = Wait { is_suspect: Arc::clone(&self.is_suspect), is_over: false };
        HttpConnectorFuture::new(async move {
            let answer = exchange(&client, request).await;
            wait.end();
            answer
        })
    }
}

/// Sends a request and reads the complete response.
async fn exchange(
    client: &Result<Client, SanitizedError>,
    request: HttpRequest,
) -> Result<HttpResponse, ConnectorError> {
    let unusable = |error: BoxError| ConnectorError::user(error);
    let client = client.as_ref().map_err(|error| unusable(error.clone().into()))?;
    let request = request.try_into_http1x().map_err(|error| unusable(error.into()))?;
    let (head, body) = request.into_parts();
    // The body of a request of the SDK is complete: nothing here is streamed.
    let body = body.bytes().ok_or_else(|| unusable("the request is a stream".into()))?.to_vec();
    let request = http::Request::from_parts(head, body);
    let request = Request::try_from(request).map_err(|error| unusable(error.into()))?;
    let response = client.execute(request).await.map_err(failed)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = Limited::new(Body::from(response), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| match error.downcast::<reqwest::Error>() {
        Ok(error) => failed(*error),
        Err(other) => ConnectorError::io(other),
    })?;
    let mut response = http::Response::new(SdkBody::from(body.to_bytes()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

/// Converts an error to the kind that decides whether the SDK retries.
fn failed(error: reqwest::Error) -> ConnectorError {
    let failure = Failure::new(error, SIDE);
    match failure.kind() {
        FailureKind::TimedOut => ConnectorError::timeout(failure.into()),
        _ if failure.is_connect() => ConnectorError::io(failure.into()).never_connected(),
        _ => ConnectorError::io(failure.into()),
    }
}

/// Marks the pool as suspect if it is dropped before the response was received.
#[derive(Debug)]
struct Wait {
    is_suspect: Arc<AtomicBool>,
    is_over: bool,
}

impl Wait {
    fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if !self.is_over {
            self.is_suspect.store(true, Ordering::Relaxed);
        }
    }
}
