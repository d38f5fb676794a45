//! A scripted body of an answer: whole, paused or cut off.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::task::yield_now;

use super::connection::Died;
use super::fault::Gate;

/// A body whose length is sent in the head, and what happens in the middle of it.
pub(super) struct Script {
    length: u64,
    steps: VecDeque<Step>,
}

enum Step {
    Data(Bytes),
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
    Break,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("length", &self.length).finish_non_exhaustive()
    }
}

impl Script {
    /// An answer as it is.
    pub(super) fn whole(response: Response<Bytes>) -> Response<Self> {
        response.map(|body| Self::new(&body, [Step::Data(body.clone())]))
    }

    /// An answer that stops in the middle of its body until the gate is opened.
    pub(super) fn held(response: Response<Bytes>, gate: Gate) -> Response<Self> {
        response.map(|body| {
            let (first, second) = halves(&body);
            let wait = Box::pin(async move { gate.passed().await });
            Self::new(&body, [Step::Data(first), Step::Wait(wait), Step::Data(second)])
        })
    }

    /// An answer that breaks off in the middle of its body.
    pub(super) fn cut(response: Response<Bytes>) -> Response<Self> {
        response.map(|body| {
            let (first, _) = halves(&body);
            // What was given is sent when nothing more is there to give at once.
            Self::new(&body, [Step::Data(first), Step::Wait(Box::pin(yield_now())), Step::Break])
        })
    }

    fn new(body: &Bytes, steps: impl IntoIterator<Item = Step>) -> Self {
        let is_something = |step: &Step| !matches!(step, Step::Data(data) if data.is_empty());
        let steps = steps.into_iter().filter(is_something).collect();
        Self { length: body.len() as u64, steps }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Died;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Died>>> {
        if let Some(Step::Wait(wait)) = self.steps.front_mut() {
            ready!(wait.as_mut().poll(context));
            self.steps.pop_front();
        }
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Data(data)) => {
                self.length = self.length.saturating_sub(data.len() as u64);
                Some(Ok(Frame::data(data)))
            }
            Some(Step::Break) => Some(Err(Died)),
            // Two waits never follow each other.
            Some(Step::Wait(_)) | None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

fn halves(body: &Bytes) -> (Bytes, Bytes) {
    let mut first = body.clone();
    let second = first.split_off(body.len() / 2);
    (first, second)
}
