//! The audit log: streams, and lines on standard output.

use std::io::Write;
use std::time::Duration;

use axum::http::Method;
use kes_types::Timestamp;
use kes_types::wire::{AuditEvent, AuditRequest, AuditResponse};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use crate::log::{Hub, LogLine};

/// Lines that wait to be written.
const LINES_MAX: usize = 8192;

/// How long an answer waits for a place among them, before its line is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the end of the server waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

impl LogLine for AuditEvent {
    fn line(&self, lost: u64) -> Vec<u8> {
        serde_json::to_vec(&Self { lost, ..self.clone() }).unwrap_or_default()
    }

    fn gap() -> Self {
        let request =
            AuditRequest { ip: String::new(), path: String::new(), identity: None, proxy_ip: None };
        let response = AuditResponse { code: 0, time: 0 };
        Self { time: Timestamp::ZERO, request, response, lost: 0 }
    }
}

/// Where audit events go.
#[derive(Debug)]
pub(crate) struct AuditLog {
    pub(crate) hub: Hub<AuditEvent>,
    lines: mpsc::Sender<Line>,
}

/// A line's place at the writer.
#[derive(Debug)]
pub(crate) struct LinePlace<'a>(mpsc::Permit<'a, Line>);

impl LinePlace<'_> {
    pub(crate) fn write(self, method: &Method, event: &AuditEvent) {
        self.0.send(Line::Write(line(method, event)));
    }
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Line {
    Write(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

/// An event as a line on standard output.
#[derive(Serialize)]
struct StdoutLine<'a> {
    message: &'static str,
    method: &'a str,
    #[serde(flatten)]
    event: &'a AuditEvent,
}

impl AuditLog {
    /// Starts the writer on a thread of its own, so that a slow output blocks no request's thread.
    /// It ends when the log is dropped.
    pub(crate) fn new(output: Box<dyn Write + Send>, tasks: &TaskTracker) -> Self {
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        tasks.spawn_blocking(move || write_lines(output, receiver));
        Self { hub: Hub::default(), lines }
    }

    /// Waits for a line's place at the writer, while it is behind.
    pub(crate) async fn place(&self) -> Option<LinePlace<'_>> {
        let place = tokio::time::timeout(WRITE_TIMEOUT, self.lines.reserve()).await;
        place.ok()?.ok().map(LinePlace)
    }

    /// Hands a line to the writer if it is not behind.
    pub(crate) fn write_now(&self, method: &Method, event: &AuditEvent) {
        if self.lines.try_send(Line::Write(line(method, event))).is_err() {
            tracing::error!("an audit event was lost: standard output takes no more lines");
        }
    }

    /// Waits until what was handed over is written.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let flushed = async {
            if self.lines.send(Line::Flush(done)).await.is_ok() {
                let _ = written.await;
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
            tracing::error!("audit events were lost: standard output takes no more lines");
        }
    }
}

fn line(method: &Method, event: &AuditEvent) -> Vec<u8> {
    let line = StdoutLine { message: "audit", method: method.as_str(), event };
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn write_lines(mut output: Box<dyn Write + Send>, mut lines: mpsc::Receiver<Line>) {
    let mut batch = Vec::new();
    while lines.blocking_recv_many(&mut batch, 256) > 0 {
        let mut flushed = Vec::new();
        for line in batch.drain(..) {
            match line {
                Line::Write(bytes) => {
                    if let Err(error) = output.write_all(&bytes) {
                        tracing::error!(%error, "an audit event was lost: cannot write to standard output");
                    }
                }
                Line::Flush(done) => flushed.push(done),
            }
        }
        if let Err(error) = output.flush() {
            tracing::error!(%error, "audit events were lost: cannot write to standard output");
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}
