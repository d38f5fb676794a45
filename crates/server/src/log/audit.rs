//! The audit log: streams, and lines on standard output.
//!
//! Lines for standard output are written by a task of their own. When it is behind, responses wait for capacity, for 1 s at
//! most; then the event is dropped, and the next line and the error log have the number of lost events: a client must get
//! its response in bounded time.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use kes_types::wire::AuditEvent;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::audit_line;
use crate::log::failures::Failures;
use crate::log::line_buffer::{LineBuffer, Rest};
use crate::log::line_writer::{LineWriter, count_lines};
use crate::log::stream::Broadcast;

/// Lines that wait to be written, in bytes.
const LINES_LEN_MAX: usize = 4 << 20;

/// How long an answer waits for room among them, before its line is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// The cause of a line that is dropped.
const NO_MORE_LINES: &str = "standard output takes no more lines";

/// How long the end of the server waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where audit events go.
#[derive(Debug)]
pub(crate) struct AuditLog {
    pub(crate) broadcast: Arc<Broadcast>,
    output: Arc<LineBuffer>,
    written: CancellationToken,
    failures: Arc<Failures>,
}

impl AuditLog {
    /// Starts the writer, which ends with [`Self::flush`] or when the log is dropped.
    pub(crate) fn new(
        output: Box<dyn Write + Send>,
        tasks: &TaskTracker,
        failures: Arc<Failures>,
    ) -> Self {
        let (lines, written) = (Arc::new(LineBuffer::new(LINES_LEN_MAX)), CancellationToken::new());
        let writer = write_lines(output, Arc::clone(&lines), tasks.clone(), Arc::clone(&failures));
        let writing = written.clone().drop_guard();
        tasks.spawn(async move {
            writer.await;
            drop(writing);
        });
        Self { broadcast: Arc::default(), output: lines, written, failures }
    }

    /// Waits for capacity while the writer is behind, within bounds.
    pub(crate) async fn writable(&self) {
        if self.output.is_writable() {
            return;
        }
        // Without it the line is given up.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.output.writable()).await;
    }

    /// Hands a line to the writer if there is capacity; if not, a later line has the number of lost lines.
    pub(crate) fn write(&self, method: &Method, event: &AuditEvent<'_>) {
        if !self.output.push(&audit_line::stdout_line(method, event, 0), |lost| {
            audit_line::stdout_line(method, event, lost)
        }) {
            self.failures.audit_lost(1, NO_MORE_LINES);
        }
    }

    /// Waits until what was handed over is written; nothing is from now on.
    pub(crate) async fn flush(&self) {
        self.output.close();
        if tokio::time::timeout(FLUSH_TIMEOUT, self.written.cancelled()).await.is_err() {
            tracing::error!("audit events were lost: standard output takes no more lines");
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.output.close();
    }
}

/// Writes batches of lines until the buffer is closed, on threads where a slow output blocks no
/// request. If that becomes impossible the buffer is closed, so that no request waits for it.
async fn write_lines(
    output: Box<dyn Write + Send>,
    lines: Arc<LineBuffer>,
    tasks: TaskTracker,
    failures: Arc<Failures>,
) {
    let (mut writer, mut rest) = (Some(LineWriter::new(output)), Rest::default());
    while let Some(batch) = rest.next_batch(&lines).await {
        let count = count_lines(&batch.lines);
        let Some(mut to) = writer.take() else {
            failures.audit_lost(count, io::Error::from(io::ErrorKind::BrokenPipe));
            continue;
        };
        let writing = tasks.spawn_blocking(move || {
            let written = to.write(&batch);
            (to, written, batch.lines)
        });
        match writing.await {
            Ok((to, written, lines)) => {
                writer = Some(to);
                rest.give_back(lines);
                if let Err((lost, error)) = written {
                    failures.audit_lost(lost, error);
                }
            }
            Err(panicked) => {
                failures.audit_lost(count, panicked);
                lines.close();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kes_types::SystemClock;

    use super::*;

    /// An output that panics.
    struct Panicking;

    impl Write for Panicking {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("the output panics")
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn no_request_waits_for_a_writer_that_is_gone() {
        let tasks = TaskTracker::new();
        let log = AuditLog::new(Box::new(Panicking), &tasks, Failures::new(Arc::new(SystemClock)));
        assert!(log.output.push(b"b\n", |_| Vec::new()));
        log.written.cancelled().await;
        assert!(!log.output.push(b"a\n", |_| Vec::new()));
        log.writable().await;
    }
}
