//! Serves one connection of the floor with hyper, in the way of hyper's own examples.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, Stream as _};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ring::aead::LessSafeKey;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::floor::answer;

/// Serves a connection until it ends.
pub(crate) async fn serve(tls: TlsStream<TcpStream>, key: Arc<LessSafeKey>, in_one_task: bool) {
    let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| answer(Arc::clone(&key), request));
    let io = TokioIo::new(tls);
    let _ = if !is_h2 {
        http1::Builder::new().serve_connection(io, service).await
    } else if in_one_task {
        let streams = Streams::default();
        let builder = http2::Builder::new(streams.clone());
        let connection = builder.serve_connection(io, service);
        OneTask { connection, running: FuturesUnordered::new(), streams }.await
    } else {
        http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
    };
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An executor that queues the tasks of new h2 streams until the connection's task polls them.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(stream));
    }
}

/// A future that runs an h2 connection and its streams in one task.
struct OneTask<C> {
    connection: C,
    running: FuturesUnordered<Task>,
    streams: Streams,
}

impl<C: Future + Unpin> Future for OneTask<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        loop {
            if let Poll::Ready(end) = Pin::new(&mut self.connection).poll(cx) {
                return Poll::Ready(end);
            }
            let this = &mut *self;
            let mut begun = this.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
            this.running.extend(begun.drain(..));
            drop(begun);
            let mut is_any_done = false;
            while let Poll::Ready(Some(())) = Pin::new(&mut this.running).poll_next(cx) {
                is_any_done = true;
            }
            if !is_any_done {
                return Poll::Pending;
            }
        }
    }
}
