//! The audit log: streams, and lines on standard output.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use kes_types::wire::{AuditEvent, AuditRequest, AuditResponse};
use kes_types::{Identity, Timestamp, escape};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backlog::{Backlog, Rest};
use crate::log::{Hub, LogLine};

/// Lines that wait to be written, in bytes.
const LINES_LEN_MAX: usize = 4 << 20;

/// How long an answer waits for room among them, before its line is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long, and how often, the writer waits for an output that is full and does not block.
const WAIT: Duration = Duration::from_millis(10);
const WAITS_MAX: u32 = 100;

/// How long the end of the server waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

impl LogLine for AuditEvent<'_> {
    fn line(&self, lost: u64) -> Vec<u8> {
        json(None, self, lost)
    }

    fn gap(lost: u64) -> Vec<u8> {
        let request =
            AuditRequest { ip: "".into(), path: "".into(), identity: None, proxy_ip: None };
        let response = AuditResponse { code: 0, time: 0 };
        json(None, &AuditEvent { time: Timestamp::ZERO, request, response, lost: 0 }, lost)
    }
}

/// Where audit events go.
#[derive(Debug)]
pub(crate) struct AuditLog {
    pub(crate) hub: Arc<Hub>,
    output: Arc<Backlog>,
    written: CancellationToken,
}

impl AuditLog {
    /// Starts the writer, which ends with [`Self::flush`] or when the log is dropped.
    pub(crate) fn new(output: Box<dyn Write + Send>, tasks: &TaskTracker) -> Self {
        let (lines, written) = (Arc::new(Backlog::new(LINES_LEN_MAX)), CancellationToken::new());
        let writer = write_lines(output, Arc::clone(&lines), tasks.clone());
        let writing = written.clone().drop_guard();
        tasks.spawn(async move {
            writer.await;
            drop(writing);
        });
        Self { hub: Arc::default(), output: lines, written }
    }

    /// Waits for room while the writer is behind, within bounds.
    pub(crate) async fn room(&self) {
        if self.output.has_room() {
            return;
        }
        // Without it the line is given up.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.output.room()).await;
    }

    /// Hands a line to the writer if there is room.
    pub(crate) fn write(&self, method: &Method, event: &AuditEvent<'_>) {
        let line = line(method, event);
        if !self.output.push(&line, |_| line.clone()) {
            tracing::error!("an audit event was lost: standard output takes no more lines");
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

/// A line on standard output.
fn line(method: &Method, event: &AuditEvent<'_>) -> Vec<u8> {
    let mut line = json(Some(method), event, 0);
    line.push(b'\n');
    line
}

/// What an event takes at the most where its path is as short as most are.
const JSON_LEN: usize = 512;

/// The JSON of an event, as its `Serialize` writes it; written out here because every request
/// pays for it. On standard output it begins with a message and the method.
fn json(method: Option<&Method>, event: &AuditEvent<'_>, lost: u64) -> Vec<u8> {
    let mut json = Vec::with_capacity(JSON_LEN);
    let AuditRequest { ip, path, identity, proxy_ip } = &event.request;
    let AuditResponse { code, time } = event.response;
    match method {
        Some(method) => {
            plain(&mut json, r#"{"message":"audit","method":"#, method.as_str());
            json.push(b',');
        }
        None => json.push(b'{'),
    }
    plain(&mut json, r#""time":"#, event.time.text(&mut [0; Timestamp::TEXT_LEN_MAX]));
    plain(&mut json, r#","request":{"ip":"#, ip);
    add(&mut json, r#","path":"#, path);
    if let Some(identity) = identity {
        plain(&mut json, r#","identity":"#, identity.text(&mut [0; Identity::TEXT_LEN]));
    }
    if let Some(proxy_ip) = proxy_ip {
        plain(&mut json, r#","proxy_ip":"#, proxy_ip);
    }
    add(&mut json, r#"},"response":{"code":"#, &code);
    add(&mut json, r#","time":"#, &time);
    json.push(b'}');
    if lost > 0 {
        add(&mut json, r#","lost":"#, &lost);
    }
    json.push(b'}');
    json
}

/// Adds a text that has nothing to escape: times, addresses and identities have not, nor has a
/// method, which is a token.
fn plain(json: &mut Vec<u8>, before: &str, text: &str) {
    json.extend_from_slice(before.as_bytes());
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
}

/// Adds any value: texts and numbers can always be written.
fn add(json: &mut Vec<u8>, before: &str, value: &impl Serialize) {
    json.extend_from_slice(before.as_bytes());
    let _ = escape::write_json(json, value);
}

/// Writes batches of lines until the backlog is closed, on threads where a slow output blocks no
/// request. Should that become impossible the backlog is closed: nobody waits for it then.
async fn write_lines(output: Box<dyn Write + Send>, lines: Arc<Backlog>, tasks: TaskTracker) {
    let (mut sheet, mut rest) = (Some(Sheet { output, is_torn: false }), Rest::default());
    while let Some(batch) = rest.next_batch(&lines).await {
        let Some(mut to) = sheet.take() else {
            report_lost(count_lines(&batch.lines), &io::Error::from(io::ErrorKind::BrokenPipe));
            continue;
        };
        let count = count_lines(&batch.lines);
        let writing = tasks.spawn_blocking(move || {
            let written = to.write(&batch.lines);
            (to, written, batch.lines)
        });
        match writing.await {
            Ok((to, written, lines)) => {
                sheet = Some(to);
                rest.give_back(lines);
                if let Err((lost, error)) = written {
                    report_lost(lost, &error);
                }
            }
            Err(panicked) => {
                report_lost(count, &io::Error::other(panicked));
                lines.close();
            }
        }
    }
}

fn report_lost(lines: usize, error: &io::Error) {
    tracing::error!(lines, %error, "audit events were lost: cannot write to standard output");
}

fn count_lines(lines: &[u8]) -> usize {
    // What stands behind the last line feed is no line.
    lines.split(|byte| *byte == b'\n').count().saturating_sub(1)
}

/// An output, and whether it ends within a line.
struct Sheet {
    output: Box<dyn Write + Send>,
    is_torn: bool,
}

impl Sheet {
    /// Writes lines; if it cannot, how many of them were lost, and why.
    fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        if self.is_torn {
            self.write_all(b"\n").map_err(|(_, error)| (count_lines(lines), error))?;
            self.is_torn = false;
        }
        let written = self.write_all(lines).map_err(|(at, error)| {
            let (done, left) = lines.split_at(at);
            self.is_torn = !done.is_empty() && !done.ends_with(b"\n");
            (count_lines(left), error)
        });
        written.and_then(|()| self.output.flush().map_err(|error| (count_lines(lines), error)))
    }

    /// Writes all, or tells how much was written. An output that is only full for now is waited for.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let (mut at, mut waits) = (0, 0);
        while at < bytes.len() {
            match self.output.write(&bytes[at..]) {
                Ok(0) => return Err((at, io::ErrorKind::WriteZero.into())),
                Ok(more) => at += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && waits < WAITS_MAX => {
                    waits += 1;
                    std::thread::sleep(WAIT);
                }
                Err(error) => return Err((at, error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Takes a few bytes at a time, refuses once after `good` of them, and panics at a `!`.
    struct Odd {
        taken: Arc<Mutex<Vec<u8>>>,
        good: usize,
        error: io::ErrorKind,
    }

    impl Write for Odd {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            if taken.len() >= self.good {
                self.good = usize::MAX;
                return Err(self.error.into());
            }
            assert_ne!(bytes.first(), Some(&b'!'), "the output panics");
            let len = bytes.len().min(3);
            taken.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sheet(good: usize, error: io::ErrorKind) -> (Sheet, Arc<Mutex<Vec<u8>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let output = Box::new(Odd { taken: Arc::clone(&taken), good, error });
        (Sheet { output, is_torn: false }, taken)
    }

    #[test]
    fn a_torn_line_is_counted_and_ended_before_the_next() {
        let (mut sheet, taken) = sheet(6, io::ErrorKind::StorageFull);
        let (lost, error) = sheet.write(b"aaaa\nbbbb\ncccc\n").unwrap_err();
        assert_eq!((lost, error.kind()), (2, io::ErrorKind::StorageFull));
        sheet.write(b"dddd\n").unwrap();
        assert_eq!(*taken.lock().unwrap(), b"aaaa\nb\ndddd\n");
    }

    #[test]
    fn an_output_that_is_full_for_a_moment_loses_nothing() {
        let (mut sheet, taken) = sheet(3, io::ErrorKind::WouldBlock);
        sheet.write(b"aaaa\nbbbb\n").unwrap();
        assert_eq!(*taken.lock().unwrap(), b"aaaa\nbbbb\n");
    }

    #[tokio::test]
    async fn when_the_writer_is_gone_nobody_waits_for_it() {
        let tasks = TaskTracker::new();
        let (Sheet { output, .. }, _) = sheet(usize::MAX, io::ErrorKind::Other);
        let log = AuditLog::new(output, &tasks);
        assert!(log.output.push(b"!\n", |_| Vec::new()));
        log.written.cancelled().await;
        assert!(!log.output.push(b"a\n", |_| Vec::new()));
        log.room().await;
    }

    #[test]
    fn a_line_is_what_the_event_serializes_to() {
        let time = Timestamp::from_unix(1_700_000_000, 120_000_000).unwrap();
        for (path, identity, proxy_ip, lost) in [
            ("/v1/status", None, None, 0),
            ("/v1/key/list/\"\n\u{e4}", Some(Identity::of_public_key(b"a")), None, 7),
            ("", Some(Identity::of_public_key(b"b")), Some("192.0.2.1".into()), 0),
        ] {
            let request = AuditRequest { ip: "::1".into(), path: path.into(), identity, proxy_ip };
            let response = AuditResponse { code: 200, time: 12_345 };
            let event = AuditEvent { time, request, response, lost };
            let plain = serde_json::to_value(&event).unwrap();
            assert_eq!(event.line(lost), serde_json::to_vec(&event).unwrap());

            let line = line(&Method::PUT, &AuditEvent { lost: 0, ..event });
            let mut value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let object = value.as_object_mut().unwrap();
            assert_eq!(object.remove("message").unwrap(), "audit");
            assert_eq!(object.remove("method").unwrap(), "PUT");
            assert_eq!(object["request"], plain["request"]);
            assert_eq!(object["response"], plain["response"]);
            assert_eq!(object["time"], plain["time"]);
            assert!(line.ends_with(b"}\n"));
        }
    }
}
