//! Request bodies in every form that a client may send.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{mpsc, oneshot, watch};

/// A request body.
#[derive(Debug)]
pub struct Payload(Form);

#[derive(Debug)]
enum Form {
    /// No body: neither length nor frames.
    None,
    /// A body whose length is sent in the head.
    Sized(Option<Bytes>),
    /// A body of unknown length: chunked on HTTP/1.1, no `content-length` on h2. May be empty.
    Chunked(VecDeque<Bytes>),
    /// A body of unknown length that a [`Feed`] writes.
    Fed {
        feed: mpsc::UnboundedReceiver<Bytes>,
        asked: Option<oneshot::Sender<()>>,
        taken: watch::Sender<usize>,
    },
}

/// The writing end of a body that is sent in pieces. The body ends when it is dropped.
#[derive(Debug)]
pub struct Feed {
    pieces: mpsc::UnboundedSender<Bytes>,
    asked: oneshot::Receiver<()>,
    taken: watch::Receiver<usize>,
}

impl Payload {
    /// No body.
    pub const fn none() -> Self {
        Self(Form::None)
    }

    /// A body with its length.
    pub fn sized(body: impl Into<Bytes>) -> Self {
        Self(Form::Sized(Some(body.into())))
    }

    /// A body without its length, as the Go client sends it.
    pub fn chunked(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self(Form::Chunked(if body.is_empty() { VecDeque::new() } else { [body].into() }))
    }

    /// A body that is sent as it is fed.
    pub fn fed() -> (Feed, Self) {
        let (pieces, feed) = mpsc::unbounded_channel();
        let (asking, asked) = oneshot::channel();
        let (taking, taken) = watch::channel(0);
        let form = Form::Fed { feed, asked: Some(asking), taken: taking };
        (Feed { pieces, asked, taken }, Self(form))
    }
}

impl Feed {
    /// Sends a piece.
    ///
    /// # Panics
    /// If the request has ended.
    pub fn send(&self, piece: impl Into<Bytes>) {
        assert!(self.try_send(piece), "the request is open");
    }

    /// Sends a piece; whether the request is still open.
    pub fn try_send(&self, piece: impl Into<Bytes>) -> bool {
        self.pieces.send(piece.into()).is_ok()
    }

    /// Waits until the connection has taken so many pieces; whether it has, instead of ending the
    /// request before that. It takes a piece when the server lets it send.
    pub async fn was_taken(&mut self, pieces: usize) -> bool {
        self.taken.wait_for(|taken| *taken >= pieces).await.is_ok()
    }

    /// Waits until the connection asks for the body, that is until it has sent the head.
    ///
    /// # Panics
    /// If the request ended before that.
    pub async fn wanted(&mut self) {
        assert!(self.was_wanted().await, "the head is sent");
    }

    /// Waits until the connection asks for the body; whether it did, instead of ending the request before that.
    pub async fn was_wanted(&mut self) -> bool {
        (&mut self.asked).await.is_ok()
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.0 {
            Form::None => None,
            Form::Sized(body) => body.take(),
            Form::Chunked(pieces) => pieces.pop_front(),
            Form::Fed { feed, asked, taken } => {
                if let Some(asked) = asked.take() {
                    // The receiver may be gone.
                    let _ = asked.send(());
                }
                let piece = ready!(feed.poll_recv(context));
                taken.send_modify(|pieces| *pieces += 1);
                piece
            }
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Form::None | Form::Sized(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Form::None | Form::Sized(None) => SizeHint::with_exact(0),
            Form::Sized(Some(body)) => SizeHint::with_exact(body.len() as u64),
            Form::Chunked(_) | Form::Fed { .. } => SizeHint::default(),
        }
    }
}
