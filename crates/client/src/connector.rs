//! Connections: TCP, then TLS, within one time limit.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use crate::tls::{TlsClient, TlsStream};

/// Why there is no connection to a server. Nothing was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name does not resolve, or no address accepts connections.
    #[error("connection failed")]
    Tcp(#[source] Arc<io::Error>),
    /// The TLS handshake failed.
    #[error("TLS handshake failed")]
    Tls(#[source] Arc<io::Error>),
    /// The server's certificate could not be verified.
    #[error("the server's certificate is not trusted")]
    Untrusted(#[source] Arc<io::Error>),
    /// TCP and TLS together took too long.
    #[error("no connection within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
}

/// Makes connections for the HTTP client.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    tls: TlsClient,
    connect_timeout: Duration,
}

impl Connector {
    pub(crate) fn new(tls: TlsClient, connect_timeout: Duration) -> Self {
        Self { tls, connect_timeout }
    }

    async fn connect(self, uri: Uri) -> Result<TokioIo<Stream>, ConnectError> {
        let limit = self.connect_timeout;
        let connection = async {
            let host = uri.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = uri.port_u16().unwrap_or(443);
            let tcp = TcpStream::connect((host, port)).await.map_err(tcp_error)?;
            tcp.set_nodelay(true).map_err(tcp_error)?;
            self.tls.handshake(host, tcp).await
        };
        match timeout(limit, connection).await {
            Ok(stream) => Ok(TokioIo::new(Stream(stream?))),
            Err(_elapsed) => Err(ConnectError::TimedOut(limit)),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A TLS connection that tells the HTTP client which protocol was negotiated.
#[derive(Debug)]
pub(crate) struct Stream(TlsStream);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        if self.0.is_h2() { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0.0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0.0).poll_shutdown(cx)
    }
}

fn tcp_error(error: io::Error) -> ConnectError {
    ConnectError::Tcp(Arc::new(error))
}
