//! Buffers log lines for a reader that reads them in batches (docs/performance.md).
//!
//! Waking a reader for each line takes more CPU time than the request that the line is about. Therefore a
//! reader waits for [`BATCH_INTERVAL`] after each batch, unless [`BATCH_LEN`] bytes are buffered earlier. A
//! reader that finds no line after that time is woken by the first one. The limit is in bytes: channels of tokio
//! have limits in messages, and take 40 ns more for each line.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use kes_types::lock;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a reader waits after a batch.
const BATCH_INTERVAL: Duration = Duration::from_millis(10);

/// How many buffered bytes wake the reader earlier.
const BATCH_LEN: usize = 64 << 10;

/// The largest capacity of a batch that is reused for further lines, in bytes.
const REUSED_LEN_MAX: usize = 4 * BATCH_LEN;

/// Buffers lines for one reader, up to a maximum length.
#[derive(Debug)]
pub(crate) struct LineBuffer {
    state: Mutex<State>,
    len_max: usize,
    readable: Notify,
    writable: Notify,
}

#[derive(Debug)]
struct State {
    lines: Vec<u8>,
    lost: u64,
    /// The buffered length at which the reader is woken; `None` while it is running.
    wake_at: Option<usize>,
    is_closed: bool,
}

/// The lines that a reader receives at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Whole lines.
    pub(crate) lines: Vec<u8>,
    /// Number of lost lines, if no line has followed them yet.
    pub(crate) lost: u64,
}

impl LineBuffer {
    /// Creates a buffer of up to `len_max` bytes.
    pub(crate) fn new(len_max: usize) -> Self {
        let state = State { lines: Vec::new(), lost: 0, wake_at: None, is_closed: false };
        let (readable, writable) = (Notify::new(), Notify::new());
        Self { state: Mutex::new(state), len_max, readable, writable }
    }

    /// Adds a line if there is space; otherwise counts it as lost and returns `false`. `after_loss` returns the
    /// line with the number of lost lines before it.
    pub(crate) fn push(&self, line: &[u8], after_loss: impl FnOnce(u64) -> Vec<u8>) -> bool {
        let mut state = self.lock();
        if state.is_closed || state.lines.len() + line.len() > self.len_max {
            state.lost += 1;
            return false;
        }
        match std::mem::take(&mut state.lost) {
            0 => state.lines.extend_from_slice(line),
            lost => state.lines.extend_from_slice(&after_loss(lost)),
        }
        let len = state.lines.len();
        let is_awaited = state.wake_at.take_if(|wake_at| len >= *wake_at).is_some();
        drop(state);
        if is_awaited {
            self.readable.notify_one();
        }
        true
    }

    /// Returns whether the buffer is at most half full, or closed.
    pub(crate) fn is_writable(&self) -> bool {
        let state = self.lock();
        state.is_closed || state.lines.len() <= self.len_max / 2
    }

    /// Waits until the buffer is at most half full, or closed.
    pub(crate) async fn writable(&self) {
        loop {
            let writable = self.writable.notified();
            if self.is_writable() {
                return;
            }
            writable.await;
        }
    }

    /// Closes the buffer: no more lines are added, and the reader ends after the buffered ones.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.readable.notify_one();
        self.writable.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Reads batches from a buffer.
#[derive(Debug, Default)]
pub(crate) struct BatchReader {
    /// When the wait after the last batch ends.
    until: Option<Instant>,
    /// An empty buffer whose capacity is reused.
    reused: Vec<u8>,
}

impl BatchReader {
    /// Reuses the memory of a batch for further lines, unless it is larger than [`REUSED_LEN_MAX`].
    pub(crate) fn reuse(&mut self, mut lines: Vec<u8>) {
        if lines.capacity() <= REUSED_LEN_MAX {
            lines.clear();
            self.reused = lines;
        }
    }

    /// Waits for a batch; returns `None` when the buffer is closed and empty. It is cancel-safe: lines that were
    /// not returned remain in the buffer.
    pub(crate) async fn next_batch(&mut self, buffer: &LineBuffer) -> Option<Batch> {
        loop {
            let until = self.until.filter(|until| *until > Instant::now());
            {
                let mut state = buffer.lock();
                let is_due = until.is_none() || state.is_closed || state.lines.len() >= BATCH_LEN;
                if is_due && !(state.lines.is_empty() && state.lost == 0) {
                    let reused = std::mem::take(&mut self.reused);
                    let lines = std::mem::replace(&mut state.lines, reused);
                    let lost = if lines.is_empty() { std::mem::take(&mut state.lost) } else { 0 };
                    state.wake_at = None;
                    drop(state);
                    buffer.writable.notify_waiters();
                    self.until = Some(Instant::now() + BATCH_INTERVAL);
                    return Some(Batch { lines, lost });
                }
                if state.is_closed {
                    return None;
                }
                state.wake_at = Some(if until.is_some() { BATCH_LEN } else { 1 });
            }
            match until {
                None => buffer.readable.notified().await,
                Some(until) => {
                    // After a wake or a timeout the state is checked again.
                    let _ = tokio::time::timeout_at(until, buffer.readable.notified()).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    fn line(buffer: &LineBuffer, text: &str) {
        buffer.push(text.as_bytes(), |lost| format!("{lost} before {text}").into_bytes());
    }

    fn batch(lines: &str) -> Batch {
        Batch { lines: lines.as_bytes().to_vec(), lost: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_line_wakes_the_reader_and_the_next_ones_are_a_batch() {
        let (buffer, mut reader) = (LineBuffer::new(1 << 20), BatchReader::default());
        {
            let mut next = Box::pin(reader.next_batch(&buffer));
            assert!(poll!(&mut next).is_pending());
            line(&buffer, "a\n");
            assert_eq!(next.await, Some(batch("a\n")));
        }
        let begin = Instant::now();
        let mut next = Box::pin(reader.next_batch(&buffer));
        line(&buffer, "b\n");
        assert!(poll!(&mut next).is_pending());
        line(&buffer, "c\n");
        assert_eq!(next.await, Some(batch("b\nc\n")));
        assert!(begin.elapsed() >= BATCH_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_wakes_the_reader_early() {
        let (buffer, mut reader) = (LineBuffer::new(1 << 20), BatchReader::default());
        line(&buffer, "a\n");
        assert_eq!(reader.next_batch(&buffer).await, Some(batch("a\n")));
        let mut next = Box::pin(reader.next_batch(&buffer));
        assert!(poll!(&mut next).is_pending());
        let long = "x".repeat(BATCH_LEN);
        line(&buffer, &long);
        assert!(poll!(&mut next).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn lost_lines_are_counted_and_reported_with_the_next_line_or_alone() {
        let (buffer, mut reader) = (LineBuffer::new(4), BatchReader::default());
        for text in ["ab", "cd", "ef", "gh"] {
            line(&buffer, text);
        }
        assert_eq!(reader.next_batch(&buffer).await, Some(batch("abcd")));
        line(&buffer, "ij");
        assert_eq!(reader.next_batch(&buffer).await, Some(batch("2 before ij")));
        for text in ["ab", "cd", "ef"] {
            line(&buffer, text);
        }
        assert_eq!(reader.next_batch(&buffer).await, Some(batch("abcd")));
        let gap = Batch { lines: Vec::new(), lost: 1 };
        assert_eq!(reader.next_batch(&buffer).await, Some(gap));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_buffer_is_read_to_its_end_and_reading_frees_space() {
        let (buffer, mut reader) = (LineBuffer::new(4), BatchReader::default());
        line(&buffer, "abc");
        let mut writable = Box::pin(buffer.writable());
        assert!(poll!(&mut writable).is_pending());
        assert_eq!(reader.next_batch(&buffer).await, Some(batch("abc")));
        tokio::time::timeout(BATCH_INTERVAL, writable).await.unwrap();
        line(&buffer, "abc");
        buffer.close();
        assert_eq!(reader.next_batch(&buffer).await, Some(batch("abc")));
        assert_eq!(reader.next_batch(&buffer).await, None);
    }
}
