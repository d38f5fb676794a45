//! Client connections that send prepared requests.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kes_harness::{Dialer, Payload, Proto};
use tokio::task::JoinSet;

/// A request that is prepared before the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    method: Method,
    path: Uri,
    absolute: Uri,
    body: Option<Bytes>,
}

impl Prepared {
    pub(crate) fn put(path: &str, body: String) -> Self {
        Self { body: Some(body.into()), ..Self::new(Method::PUT, path) }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        String::from_utf8_lossy(body).into_owned()
    }

    fn new(method: Method, path: &str) -> Self {
        Self {
            method,
            path: path.parse().expect("a path"),
            absolute: format!("https://localhost{path}").parse().expect("a URI"),
            body: None,
        }
    }
}

/// An open client connection; streams of h2 share one.
pub(crate) struct Wire {
    sender: Sender,
    /// Aborted when the last stream is dropped.
    driver: Arc<JoinSet<hyper::Result<()>>>,
}

enum Sender {
    H1(http1::SendRequest<Payload>),
    H2(http2::SendRequest<Payload>),
}

impl Wire {
    pub(crate) async fn open(dialer: &Dialer, proto: Proto) -> Self {
        let io = TokioIo::new(dialer.tls().await.expect("a connection"));
        let mut driver = JoinSet::new();
        let sender = match proto {
            Proto::H1 => {
                let (sender, connection) = http1::handshake(io).await.expect("HTTP/1.1");
                driver.spawn(connection);
                Sender::H1(sender)
            }
            Proto::H2 => {
                let executor = TokioExecutor::new();
                let (sender, connection) = http2::handshake(executor, io).await.expect("h2");
                driver.spawn(connection);
                Sender::H2(sender)
            }
        };
        Self { sender, driver: driver.into() }
    }

    /// Returns another handle of the same h2 connection, for a further stream.
    pub(crate) fn share(&self) -> Self {
        match &self.sender {
            Sender::H1(_) => panic!("HTTP/1.1 has no streams"),
            Sender::H2(sender) => {
                Self { sender: Sender::H2(sender.clone()), driver: Arc::clone(&self.driver) }
            }
        }
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(&mut self, prepared: &Prepared) -> (u16, Bytes) {
        let response = self.start(prepared).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("the whole answer");
        (status, body.to_bytes())
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn start(&mut self, prepared: &Prepared) -> Response<Incoming> {
        let payload = match &prepared.body {
            // Without Content-Length, as MinIO sends it.
            Some(body) => Payload::chunked(body.clone()),
            None => Payload::none(),
        };
        let mut request = Request::new(payload);
        *request.method_mut() = prepared.method.clone();
        if prepared.body.is_some() {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
        }
        let response = match &mut self.sender {
            Sender::H1(sender) => {
                *request.uri_mut() = prepared.path.clone();
                request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
                sender.ready().await.expect("the connection lives");
                sender.send_request(request).await
            }
            Sender::H2(sender) => {
                *request.uri_mut() = prepared.absolute.clone();
                sender.ready().await.expect("the connection lives");
                sender.send_request(request).await
            }
        };
        response.expect("an answer")
    }
}
