//! An HTTP client connection, with requests and their answers.

use std::pin::Pin;

use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::answer::{Answer, Stream};
use crate::dial::Proto;
use crate::payload::Payload;

/// An open connection. It is closed when it is dropped.
pub struct Connection {
    sender: Sender,
    driver: JoinSet<hyper::Result<()>>,
}

enum Sender {
    H1(http1::SendRequest<Payload>),
    H2(http2::SendRequest<Payload>),
}

/// A request that was sent, whose answer has yet to come.
pub struct Pending(Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>);

/// A request.
#[derive(Debug)]
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    payload: Payload,
}

impl Request {
    /// A request without a body.
    ///
    /// # Panics
    /// If `method` is not a method.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.parse().expect("a method"),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            payload: Payload::none(),
        }
    }

    /// Adds a header.
    ///
    /// # Panics
    /// If it is not a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    /// Gives it a body.
    #[must_use]
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Gives it a JSON body as the Go client sends it: no length, content type set.
    #[must_use]
    pub fn json(self, body: impl Into<String>) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
            .payload(Payload::chunked(body.into()))
    }
}

impl Connection {
    /// Starts HTTP on a TLS stream.
    pub async fn open(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        proto: Proto,
    ) -> hyper::Result<Self> {
        let stream = TokioIo::new(stream);
        let mut driver = JoinSet::new();
        let sender = match proto {
            Proto::H1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                driver.spawn(connection);
                Sender::H1(sender)
            }
            Proto::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                driver.spawn(connection);
                Sender::H2(sender)
            }
        };
        Ok(Self { sender, driver })
    }

    /// Sends a request without waiting for the answer. On h2 requests go out in the order in
    /// which this was called; on HTTP/1.1 the answer has to be read before the next one.
    ///
    /// # Panics
    /// If the path is not a path.
    pub async fn start(&mut self, request: Request) -> hyper::Result<Pending> {
        let Request { method, path, headers, payload } = request;
        let mut message = http::Request::new(payload);
        *message.method_mut() = method;
        *message.headers_mut() = headers;
        Ok(match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                *message.uri_mut() = path.parse().expect("a path");
                message.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
                Pending(Box::pin(sender.send_request(message)))
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                *message.uri_mut() = absolute(&path);
                Pending(Box::pin(sender.send_request(message)))
            }
        })
    }

    /// Sends a request and reads the whole answer.
    pub async fn try_send(&mut self, request: Request) -> hyper::Result<Answer> {
        self.start(request).await?.try_answer().await
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn send(&mut self, request: Request) -> Answer {
        self.try_send(request).await.expect("an answer")
    }

    /// Sends a request without a body, and reads the whole answer.
    pub async fn call(&mut self, method: &str, path: &str) -> Answer {
        self.send(Request::new(method, path)).await
    }

    /// Sends a GET, and reads the whole answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.call("GET", path).await
    }

    /// Sends a POST with a JSON body of unknown length, and reads the whole answer.
    pub async fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send(Request::new("POST", path).json(body)).await
    }

    /// Sends a request that is to be refused and reads the answer; one that is not may never end.
    ///
    /// # Panics
    /// If the status is 200.
    pub async fn refusal(&mut self, request: Request) -> Answer {
        let pending = self.start(request).await.expect("a connection");
        let response = pending.0.await.expect("an answer");
        assert_ne!(response.status(), 200);
        Answer::read(response).await.expect("a whole answer")
    }

    /// Sends a GET for a streamed answer.
    ///
    /// # Panics
    /// If the status is not 200.
    pub async fn follow(&mut self, path: &str) -> Stream {
        let pending = self.start(Request::new("GET", path)).await.expect("a connection");
        let response = pending.0.await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/x-ndjson");
        Stream::new(response.into_body())
    }

    /// Waits until the server has closed the connection; an error if it did not close it
    /// properly.
    ///
    /// # Panics
    /// If the connection's task panics.
    pub async fn closed(mut self) -> hyper::Result<()> {
        drop(self.sender);
        self.driver.join_next().await.expect("one task").expect("the task ends")
    }

    /// Waits until the server has closed the connection without the client doing anything.
    ///
    /// # Panics
    /// If the connection's task panics.
    pub async fn ended(&mut self) -> hyper::Result<()> {
        self.driver.join_next().await.expect("one task").expect("the task ends")
    }
}

impl Pending {
    /// Reads the whole answer.
    pub async fn try_answer(self) -> hyper::Result<Answer> {
        Answer::read(self.0.await?).await
    }

    /// Reads the whole answer.
    ///
    /// # Panics
    /// If there is none.
    pub async fn answer(self) -> Answer {
        self.try_answer().await.expect("an answer")
    }
}

fn absolute(path: &str) -> Uri {
    format!("https://localhost{path}").parse().expect("a path")
}
