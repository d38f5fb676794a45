//! Writes audit lines to an output, and counts the lines that could not be written.

use std::io::{self, Write};
use std::time::Duration;

use crate::log::audit_line;
use crate::log::line_buffer::Batch;

/// How long, and how often, the writer waits for a non-blocking output that is full.
const WAIT: Duration = Duration::from_millis(10);
const WAITS_MAX: u32 = 100;

/// Returns how many lines end in `lines`.
pub(super) fn count_lines(lines: &[u8]) -> u64 {
    // The bytes after the last line feed are not a line.
    lines.split(|byte| *byte == b'\n').skip(1).map(|_| 1).sum()
}

/// Writes lines to an output; records how many were lost, and whether the last one was written in part.
pub(super) struct LineWriter {
    output: Box<dyn Write + Send>,
    lost: u64,
    is_line_partial: bool,
}

impl LineWriter {
    pub(super) fn new(output: Box<dyn Write + Send>) -> Self {
        Self { output, lost: 0, is_line_partial: false }
    }

    /// Writes a batch of lines, after a line that reports the lines lost before it. On an error returns how many
    /// lines of the batch were lost.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), (u64, io::Error)> {
        self.lost += batch.lost;
        let written = self.try_write(&batch.lines);
        if let Err((lost, _)) = &written {
            self.lost += lost;
        }
        written
    }

    fn try_write(&mut self, lines: &[u8]) -> Result<(), (u64, io::Error)> {
        let all_lost = |error| (count_lines(lines), error);
        if self.is_line_partial {
            self.write_all(b"\n").map_err(|(_, error)| all_lost(error))?;
            self.is_line_partial = false;
        }
        if self.lost > 0 {
            let gap = audit_line::stdout_gap(self.lost);
            self.write_all(&gap).map_err(|(at, error)| {
                self.is_line_partial = at > 0;
                all_lost(error)
            })?;
            self.lost = 0;
        }
        let written = self.write_all(lines).map_err(|(at, error)| {
            let (done, left) = lines.split_at(at);
            self.is_line_partial = !done.is_empty() && !done.ends_with(b"\n");
            (count_lines(left), error)
        });
        written.and_then(|()| self.output.flush().map_err(all_lost))
    }

    /// Writes all bytes, or returns how many were written. Waits for a non-blocking output that is full.
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
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    /// Writes three bytes at a time, and fails once after `good` of them.
    struct FailingOutput {
        written: Arc<Mutex<Vec<u8>>>,
        good: usize,
        error: io::ErrorKind,
    }

    impl Write for FailingOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            if written.len() >= self.good {
                self.good = usize::MAX;
                return Err(self.error.into());
            }
            let len = bytes.len().min(3);
            written.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn writer(good: usize, error: io::ErrorKind) -> (LineWriter, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = Box::new(FailingOutput { written: Arc::clone(&written), good, error });
        (LineWriter::new(output), written)
    }

    fn batch(lines: &[u8], lost: u64) -> Batch {
        Batch { lines: lines.to_vec(), lost }
    }

    #[test]
    fn a_partial_line_is_counted_and_ended_before_the_next() {
        let (mut writer, written) = writer(6, io::ErrorKind::StorageFull);
        let (lost, error) = writer.write(&batch(b"aaaa\nbbbb\ncccc\n", 0)).unwrap_err();
        assert_eq!((lost, error.kind()), (2, io::ErrorKind::StorageFull));
        writer.write(&batch(b"dddd\n", 0)).unwrap();
        let gap = String::from_utf8(audit_line::stdout_gap(2)).unwrap();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text, format!("aaaa\nb\n{gap}dddd\n"));
    }

    #[test]
    fn a_gap_is_a_line_of_its_own() {
        let (mut writer, written) = writer(usize::MAX, io::ErrorKind::Other);
        writer.write(&batch(b"", 3)).unwrap();
        writer.write(&batch(b"a\n", 0)).unwrap();
        let written = written.lock().unwrap().clone();
        assert_eq!(written, [&audit_line::stdout_gap(3)[..], b"a\n"].concat());
        let gap: serde_json::Value = serde_json::from_slice(&audit_line::stdout_gap(3)).unwrap();
        assert_eq!((gap["lost"].as_u64(), gap["message"].as_str()), (Some(3), Some("audit")));
    }

    #[test]
    fn an_output_that_is_full_temporarily_loses_no_line() {
        let (mut writer, written) = writer(3, io::ErrorKind::WouldBlock);
        writer.write(&batch(b"aaaa\nbbbb\n", 0)).unwrap();
        assert_eq!(*written.lock().unwrap(), b"aaaa\nbbbb\n");
    }
}
