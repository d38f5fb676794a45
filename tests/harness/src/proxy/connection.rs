//! Connections through the proxy: requests are forwarded, answered or broken off.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Asked;
use super::fault::Fault;
use super::plan::Shared;
use super::script::Script;

/// The connection is to be reset.
#[derive(Debug)]
pub(super) struct Died;

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is to be reset")
    }
}

impl std::error::Error for Died {}

pub(super) async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        shared.plan().accepted += 1;
        connections.spawn(serve(stream, tls.clone(), Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Answers go out in pieces, and must not wait for each other's acknowledgement.
    let _ = stream.set_nodelay(true);
    let has_died = match tls {
        None => speak(&mut stream, &shared).await,
        Some(tls) => match tls.accept(&mut stream).await {
            Ok(stream) => speak(stream, &shared).await,
            Err(_) => false,
        },
    };
    if has_died {
        // With this, closing it sends a reset.
        let _ = stream.set_zero_linger();
    }
}

/// Serves requests until the connection ends; whether it is to end with a reset.
async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send, shared: &Shared) -> bool {
    let service = service_fn(|request| shared.answer(request));
    server::Builder::new().serve_connection(TokioIo::new(stream), service).await.is_err()
}

impl Shared {
    async fn forward(&self, asked: &Asked) -> Result<Response<Bytes>, Died> {
        let (target, takes_turns) = {
            let plan = self.plan();
            let takes_turns = plan.one_at_a_time.as_ref().is_some_and(|when| when(asked));
            (plan.target.ok_or(Died)?, takes_turns)
        };
        let _turn = if takes_turns { Some(self.turn.lock().await) } else { None };
        forward(target, asked).await.ok_or(Died)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Script>, Died> {
        let (head, body) = request.into_parts();
        let asked = Asked {
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers: head.headers,
            body: body.collect().await.map_err(|_| Died)?.to_bytes(),
        };
        let fault = self.decide(&asked);
        self.asked.send_modify(|all| all.push(asked.clone()));
        match fault {
            None => self.forward(&asked).await.map(Script::whole),
            Some(Fault::Answer(reply)) => Ok(Script::whole(reply.response())),
            Some(Fault::Reset) => Err(Died),
            Some(Fault::Lost) => {
                self.forward(&asked).await?;
                Err(Died)
            }
            Some(Fault::Late(time)) => {
                tokio::time::sleep(time).await;
                self.forward(&asked).await.map(Script::whole)
            }
            Some(Fault::Held(gate)) => {
                gate.passed().await;
                self.forward(&asked).await.map(Script::whole)
            }
            Some(Fault::SlowBody(gate)) => {
                let response = self.forward(&asked).await?;
                Ok(Script::held(response, gate))
            }
            Some(Fault::CutBody) => self.forward(&asked).await.map(Script::cut),
            Some(Fault::Garbage(body)) => {
                Ok(Script::whole(self.forward(&asked).await?.map(|_| body)))
            }
            Some(Fault::Edit(edit)) => Ok(Script::whole(self.forward(&asked).await?.map(&*edit))),
        }
    }
}

async fn forward(target: SocketAddr, asked: &Asked) -> Option<Response<Bytes>> {
    let stream = TcpStream::connect(target).await.ok()?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.ok()?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let mut request = Request::builder().method(asked.method.as_str()).uri(asked.path.as_str());
    *request.headers_mut()? = asked.headers.clone();
    let request = request.body(Full::new(asked.body.clone())).ok()?;
    let (mut head, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    // These are about the connection to the target, and about a body that came in pieces.
    head.headers.remove(http::header::CONNECTION);
    head.headers.remove(http::header::TRANSFER_ENCODING);
    head.headers.remove(http::header::CONTENT_LENGTH);
    Some(Response::from_parts(head, body))
}
