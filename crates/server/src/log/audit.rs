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

use crate::log::failures::Failures;
use crate::log::line_buffer::{Batch, LineBuffer, Rest};
use crate::log::stream::{Hub, LogLine};

/// Lines that wait to be written, in bytes.
const LINES_LEN_MAX: usize = 4 << 20;

/// How long an answer waits for room among them, before its line is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long, and how often, the writer waits for an output that is full and does not block.
const WAIT: Duration = Duration::from_millis(10);
const WAITS_MAX: u32 = 100;

/// Why a line is given up that found no room.
const NO_MORE_LINES: &str = "standard output takes no more lines";

/// How long the end of the server waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

impl LogLine for AuditEvent<'_> {
    fn line(&self, lost: u64) -> Vec<u8> {
        json(None, self, lost)
    }

    fn gap(lost: u64) -> Vec<u8> {
        json(None, &no_event(), lost)
    }
}

/// What stands for an event where there is none but a gap.
fn no_event() -> AuditEvent<'static> {
    let request = AuditRequest {
        ip: "".into(),
        path: "".into(),
        identity: None,
        policy: None,
        proxy_ip: None,
    };
    let response = AuditResponse { code: 0, time: 0 };
    AuditEvent { time: Timestamp::ZERO, request, response, client_gone: false, lost: 0 }
}

/// Where audit events go.
#[derive(Debug)]
pub(crate) struct AuditLog {
    pub(crate) hub: Arc<Hub>,
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
        Self { hub: Arc::default(), output: lines, written, failures }
    }

    /// Waits for room while the writer is behind, within bounds.
    pub(crate) async fn room(&self) {
        if self.output.has_room() {
            return;
        }
        // Without it the line is given up.
        let _ = tokio::time::timeout(WRITE_TIMEOUT, self.output.room()).await;
    }

    /// Hands a line to the writer if there is room; if not, a later line tells how many were lost.
    pub(crate) fn write(&self, method: &Method, event: &AuditEvent<'_>) {
        if !self.output.push(&line(method, event, 0), |lost| line(method, event, lost)) {
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

/// A line on standard output; so many events went missing before it.
fn line(method: &Method, event: &AuditEvent<'_>, lost: u64) -> Vec<u8> {
    let mut line = json(Some(method.as_str()), event, lost);
    line.push(b'\n');
    line
}

/// A line for a gap that no event has followed yet.
fn gap_line(lost: u64) -> Vec<u8> {
    let mut line = json(Some(""), &no_event(), lost);
    line.push(b'\n');
    line
}

/// What an event takes at the most where its path is as short as most are.
const JSON_LEN: usize = 512;

/// The JSON of an event, as its `Serialize` writes it; written out here because every request
/// pays for it. On standard output it begins with a message and the method.
fn json(method: Option<&str>, event: &AuditEvent<'_>, lost: u64) -> Vec<u8> {
    let mut json = Vec::with_capacity(JSON_LEN);
    let AuditRequest { ip, path, identity, policy, proxy_ip } = &event.request;
    let AuditResponse { code, time } = event.response;
    match method {
        Some(method) => {
            plain(&mut json, r#"{"message":"audit","method":"#, method);
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
    if let Some(policy) = policy {
        plain(&mut json, r#","policy":"#, policy);
    }
    if let Some(proxy_ip) = proxy_ip {
        plain(&mut json, r#","proxy_ip":"#, proxy_ip);
    }
    add(&mut json, r#"},"response":{"code":"#, &code);
    add(&mut json, r#","time":"#, &time);
    json.push(b'}');
    if event.client_gone {
        json.extend_from_slice(br#","client_gone":true"#);
    }
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
async fn write_lines(
    output: Box<dyn Write + Send>,
    lines: Arc<LineBuffer>,
    tasks: TaskTracker,
    failures: Arc<Failures>,
) {
    let (mut sheet, mut rest) = (Some(LineWriter::new(output)), Rest::default());
    while let Some(batch) = rest.next_batch(&lines).await {
        let count = count_lines(&batch.lines);
        let Some(mut to) = sheet.take() else {
            failures.audit_lost(count, io::Error::from(io::ErrorKind::BrokenPipe));
            continue;
        };
        let writing = tasks.spawn_blocking(move || {
            let written = to.write(&batch);
            (to, written, batch.lines)
        });
        match writing.await {
            Ok((to, written, lines)) => {
                sheet = Some(to);
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

fn count_lines(lines: &[u8]) -> u64 {
    // What stands behind the last line feed is no line.
    lines.split(|byte| *byte == b'\n').skip(1).map(|_| 1).sum()
}

/// An output, what it lost, and whether it ends within a line.
struct LineWriter {
    output: Box<dyn Write + Send>,
    lost: u64,
    is_torn: bool,
}

impl LineWriter {
    fn new(output: Box<dyn Write + Send>) -> Self {
        Self { output, lost: 0, is_torn: false }
    }

    /// Writes lines, behind one for those that were lost before them; if it cannot, how many of them
    /// were lost, and why.
    fn write(&mut self, batch: &Batch) -> Result<(), (u64, io::Error)> {
        self.lost += batch.lost;
        let written = self.try_write(&batch.lines);
        if let Err((lost, _)) = &written {
            self.lost += lost;
        }
        written
    }

    fn try_write(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        let all_lost = |error| (count_lines(lines), error);
        if self.is_torn {
            self.write_all(b"\n").map_err(|(_, error)| all_lost(error))?;
            self.is_torn = false;
        }
        if self.lost > 0 {
            let gap = gap_line(self.lost);
            self.write_all(&gap).map_err(|(at, error)| {
                self.is_torn = at > 0;
                all_lost(error)
            })?;
            self.lost = 0;
        }
        let written = self.write_all(lines).map_err(|(at, error)| {
            let (done, left) = lines.split_at(at);
            self.is_torn = !done.is_empty() && !done.ends_with(b"\n");
            (count_lines(left), error)
        });
        written.and_then(|()| self.output.flush().map_err(all_lost))
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

    use kes_types::SystemClock;

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

    fn sheet(good: usize, error: io::ErrorKind) -> (LineWriter, Arc<Mutex<Vec<u8>>>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let output = Box::new(Odd { taken: Arc::clone(&taken), good, error });
        (LineWriter::new(output), taken)
    }

    fn batch(lines: &[u8], lost: u64) -> Batch {
        Batch { lines: lines.to_vec(), lost }
    }

    #[test]
    fn a_torn_line_is_counted_and_ended_before_the_next() {
        let (mut sheet, taken) = sheet(6, io::ErrorKind::StorageFull);
        let (lost, error) = sheet.write(&batch(b"aaaa\nbbbb\ncccc\n", 0)).unwrap_err();
        assert_eq!((lost, error.kind()), (2, io::ErrorKind::StorageFull));
        sheet.write(&batch(b"dddd\n", 0)).unwrap();
        let gap = String::from_utf8(gap_line(2)).unwrap();
        let written = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        assert_eq!(written, format!("aaaa\nb\n{gap}dddd\n"));
    }

    #[test]
    fn a_gap_is_a_line_of_its_own() {
        let (mut sheet, taken) = sheet(usize::MAX, io::ErrorKind::Other);
        sheet.write(&batch(b"", 3)).unwrap();
        sheet.write(&batch(b"a\n", 0)).unwrap();
        let written = taken.lock().unwrap().clone();
        assert_eq!(written, [&gap_line(3)[..], b"a\n"].concat());
        let gap: serde_json::Value = serde_json::from_slice(&gap_line(3)).unwrap();
        assert_eq!((gap["lost"].as_u64(), gap["message"].as_str()), (Some(3), Some("audit")));
    }

    #[test]
    fn an_output_that_is_full_for_a_moment_loses_nothing() {
        let (mut sheet, taken) = sheet(3, io::ErrorKind::WouldBlock);
        sheet.write(&batch(b"aaaa\nbbbb\n", 0)).unwrap();
        assert_eq!(*taken.lock().unwrap(), b"aaaa\nbbbb\n");
    }

    #[tokio::test]
    async fn when_the_writer_is_gone_nobody_waits_for_it() {
        let tasks = TaskTracker::new();
        let (LineWriter { output, .. }, _) = sheet(usize::MAX, io::ErrorKind::Other);
        let log = AuditLog::new(output, &tasks, Failures::new(Arc::new(SystemClock)));
        assert!(log.output.push(b"!\n", |_| Vec::new()));
        log.written.cancelled().await;
        assert!(!log.output.push(b"a\n", |_| Vec::new()));
        log.room().await;
    }

    #[test]
    fn a_line_is_what_the_event_serializes_to() {
        let time = Timestamp::from_unix(1_700_000_000, 120_000_000).unwrap();
        for (path, identity, proxy_ip, client_gone, lost) in [
            ("/v1/status", None, None, false, 0),
            ("/v1/key/list/\"\n\u{e4}", Some(Identity::of_public_key(b"a")), None, true, 7),
            ("", Some(Identity::of_public_key(b"b")), Some("192.0.2.1".into()), true, 0),
        ] {
            let request = AuditRequest {
                ip: "::1".into(),
                path: path.into(),
                identity,
                policy: Some("a-b".into()),
                proxy_ip,
            };
            let response = AuditResponse { code: 200, time: 12_345 };
            let event = AuditEvent { time, request, response, client_gone, lost };
            let plain = serde_json::to_value(&event).unwrap();
            assert_eq!(event.line(lost), serde_json::to_vec(&event).unwrap());

            let line = line(&Method::PUT, &AuditEvent { lost: 0, ..event }, lost);
            let mut value: serde_json::Value = serde_json::from_slice(&line).unwrap();
            let object = value.as_object_mut().unwrap();
            assert_eq!(object.remove("message").unwrap(), "audit");
            assert_eq!(object.remove("method").unwrap(), "PUT");
            assert_eq!(object["request"], plain["request"]);
            assert_eq!(object["response"], plain["response"]);
            assert_eq!(object["time"], plain["time"]);
            assert_eq!(object.get("client_gone"), plain.get("client_gone"));
            assert_eq!(object.get("lost"), plain.get("lost"));
            assert!(line.ends_with(b"}\n"));
        }
    }

    #[test]
    fn a_path_is_printable_and_the_same_for_a_parser() {
        let path = "/v1/\n\x7f\u{85}\u{9b}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0001}\u{e4}";
        let event = no_event();
        let request = AuditRequest { path: path.into(), ..event.request };
        let event = AuditEvent { request, ..event };
        for json in [event.line(0), line(&Method::GET, &event, 0)] {
            let text = String::from_utf8(json).unwrap();
            assert!(!text.trim_end_matches('\n').chars().any(escape::is_unprintable), "{text}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["request"]["path"], path);
        }
    }
}
