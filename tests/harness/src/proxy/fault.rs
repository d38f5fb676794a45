//! Faults that the proxy can inject into a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::sync::watch;

/// What goes wrong with a request.
#[derive(Clone)]
pub enum Fault {
    /// It gets this answer; it is not forwarded.
    Answer(Reply),
    /// The connection is reset; it is not forwarded.
    Reset,
    /// The target does what was asked, then the connection is reset: its answer is lost.
    Lost,
    /// It reaches the target only after so long.
    Late(Duration),
    /// It reaches the target only when the gate is opened.
    Held(Gate),
    /// The target's answer stops in the middle of its body until the gate is opened.
    SlowBody(Gate),
    /// The target's answer stops in the middle of its body, and the connection is reset.
    CutBody,
    /// The target's answer has this body instead of its own.
    Garbage(Bytes),
    /// The body of the target's answer is changed.
    Edit(Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>),
}

/// An answer that is not the target's.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// Something that is waited for until it is opened, once and for all; clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer(reply) => return reply.fmt(f),
            Self::Reset => "Reset",
            Self::Lost => "Lost",
            Self::Late(_) => "Late",
            Self::Held(_) => "Held",
            Self::SlowBody(_) => "SlowBody",
            Self::CutBody => "CutBody",
            Self::Garbage(_) => "Garbage",
            Self::Edit(_) => "Edit",
        })
    }
}

impl Fault {
    /// The body of the target's answer is changed.
    pub fn edit(change: impl Fn(Bytes) -> Bytes + Send + Sync + 'static) -> Self {
        Self::Edit(Arc::new(change))
    }
}

impl Reply {
    /// An answer with this body.
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
            .header(CONTENT_TYPE.as_str(), content_type)
    }

    /// Adds a header.
    ///
    /// # Panics
    /// If it is not a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.push((name, HeaderValue::from_str(value).expect("a header's value")));
        self
    }

    pub(super) fn response(self) -> Response<Bytes> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status.try_into().expect("a status");
        response.headers_mut().extend(self.headers);
        response
    }
}

impl Gate {
    /// One that is shut.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Opens it.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(super) async fn passed(&self) {
        let mut open = self.0.subscribe();
        // It can only fail when the gate is gone, and this is the gate.
        let _ = open.wait_for(|is_open| *is_open).await;
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
