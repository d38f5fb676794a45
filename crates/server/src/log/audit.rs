//! Writes audit events to the log streams and to standard output.
//!
//! Lines are written to standard output in batches, by a thread of their own; no request waits for that write
//! itself. If the writer is slow, responses wait for free space in the line buffer, for at most
//! [`WRITE_TIMEOUT`]. After that the event is dropped, and the next line and the error log have the number
//! of dropped events: clients must get their responses in limited time.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use kes_types::wire::AuditEvent;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::audit_line;
use crate::log::failures::Failures;
use crate::log::line_buffer::{BatchReader, LineBuffer};
use crate::log::line_writer::{LineWriter, count_lines};
use crate::log::stream::Broadcast;

/// The longest buffer of lines that are not written yet, in bytes.
const LINES_LEN_MAX: usize = 4 << 20;

/// How long a response waits for space in the buffer before its line is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// The reason that is logged for dropped lines.
const NO_MORE_LINES: &str = "standard output takes no more lines";

/// How long shutdown waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Distributes audit events to subscribers and standard output.
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

    /// Waits for space in the line buffer, for at most [`WRITE_TIMEOUT`].
    pub(crate) async fn writable(&self) {
        if self.output.is_writable() {
            return;
        }
        // Without space the line is dropped.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.output.writable()).await;
    }

    /// Adds a line to the buffer if it has space; if not, a later line has the number of lost lines.
    pub(crate) fn write(&self, method: &Method, event: &AuditEvent<'_>) {
        if !self.output.push(&audit_line::stdout_line(method, event, 0), |lost| {
            audit_line::stdout_line(method, event, lost)
        }) {
            self.failures.audit_lost(1, NO_MORE_LINES);
        }
    }

    /// Closes the buffer and waits until its lines are written.
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

/// Writes batches of lines until the buffer is closed, on blocking threads, so that a slow output blocks no
/// request. If the writer panics the buffer is closed, so that no request waits for it.
async fn write_lines(
    output: Box<dyn Write + Send>,
    lines: Arc<LineBuffer>,
    tasks: TaskTracker,
    failures: Arc<Failures>,
) {
    let (mut writer, mut reader) = (Some(LineWriter::new(output)), BatchReader::default());
    while let Some(batch) = reader.next_batch(&lines).await {
        let count = count_lines(&batch.lines);
        let Some(mut current) = writer.take() else {
            failures.audit_lost(count, io::Error::from(io::ErrorKind::BrokenPipe));
            continue;
        };
        let writing = tasks.spawn_blocking(move || {
            let written = current.write(&batch);
            (current, written, batch.lines)
        });
        match writing.await {
            Ok((current, written, lines)) => {
                writer = Some(current);
                reader.reuse(lines);
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

    /// An output whose writes panic.
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
    async fn no_request_waits_for_a_writer_that_panicked() {
        let tasks = TaskTracker::new();
        let log = AuditLog::new(Box::new(Panicking), &tasks, Failures::new(Arc::new(SystemClock)));
        assert!(log.output.push(b"b\n", |_| Vec::new()));
        log.written.cancelled().await;
        assert!(!log.output.push(b"a\n", |_| Vec::new()));
        log.writable().await;
    }
}
