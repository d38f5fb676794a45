//! A bounded buffer of log lines with one reader, which reads in batches.
//!
//! To wake a reader for each line costs more than the request that the line is about (docs/performance.md). So a reader
//! that has read a batch sleeps for an interval, unless a whole batch arrives before; a reader of an empty buffer is
//! woken by the first line. The bound is in bytes; tokio's channels have bounds in messages, and cost 40 ns more a line.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The interval after a batch.
const REST: Duration = Duration::from_millis(10);

/// The length that ends the interval early.
const BATCH_LEN: usize = 64 << 10;

/// The largest capacity that is kept for further lines.
const SPARE_LEN_MAX: usize = 4 * BATCH_LEN;

/// A bounded buffer of lines with one reader.
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
    /// The length at which the reader is woken; none while it is awake.
    wake_at: Option<usize>,
    is_closed: bool,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Whole lines.
    pub(crate) lines: Vec<u8>,
    /// Lines that went missing, when none has followed them yet.
    pub(crate) lost: u64,
}

impl LineBuffer {
    /// Holds up to `len_max` bytes.
    pub(crate) fn new(len_max: usize) -> Self {
        let state = State { lines: Vec::new(), lost: 0, wake_at: None, is_closed: false };
        let (readable, writable) = (Notify::new(), Notify::new());
        Self { state: Mutex::new(state), len_max, readable, writable }
    }

    /// Adds a line if there is capacity; counts it as lost if not, and returns `false`. `after_loss` makes the line of a
    /// reader that has missed so many lines before it.
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

    /// Whether no more than half of the capacity is used, or the buffer is closed.
    pub(crate) fn is_writable(&self) -> bool {
        let state = self.lock();
        state.is_closed || state.lines.len() <= self.len_max / 2
    }

    /// Waits until [`Self::is_writable`].
    pub(crate) async fn writable(&self) {
        loop {
            let writable = self.writable.notified();
            if self.is_writable() {
                return;
            }
            writable.await;
        }
    }

    /// Lets the reader go when it has read what there is.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.readable.notify_one();
        self.writable.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of the reader: the end of its interval, and capacity for the next lines.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    until: Option<Instant>,
    spare: Vec<u8>,
}

impl Rest {
    /// Reuses the memory of a batch that was read, unless it is too large.
    pub(crate) fn give_back(&mut self, mut lines: Vec<u8>) {
        if lines.capacity() <= SPARE_LEN_MAX {
            lines.clear();
            self.spare = lines;
        }
    }

    /// Waits for a batch; none when the buffer is closed and empty. What was not read when this
    /// is dropped stays.
    pub(crate) async fn next_batch(&mut self, buffer: &LineBuffer) -> Option<Batch> {
        loop {
            let until = self.until.filter(|until| *until > Instant::now());
            {
                let mut state = buffer.lock();
                let is_due = until.is_none() || state.is_closed || state.lines.len() >= BATCH_LEN;
                if is_due && !(state.lines.is_empty() && state.lost == 0) {
                    let spare = std::mem::take(&mut self.spare);
                    let lines = std::mem::replace(&mut state.lines, spare);
                    let lost = if lines.is_empty() { std::mem::take(&mut state.lost) } else { 0 };
                    state.wake_at = None;
                    drop(state);
                    buffer.writable.notify_waiters();
                    self.until = Some(Instant::now() + REST);
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
                    // Either way there is something to look at.
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
    async fn the_first_line_wakes_and_the_next_ones_are_gathered() {
        let (buffer, mut rest) = (LineBuffer::new(1 << 20), Rest::default());
        {
            let mut next = Box::pin(rest.next_batch(&buffer));
            assert!(poll!(&mut next).is_pending());
            line(&buffer, "a\n");
            assert_eq!(next.await, Some(batch("a\n")));
        }
        let begin = Instant::now();
        let mut next = Box::pin(rest.next_batch(&buffer));
        line(&buffer, "b\n");
        assert!(poll!(&mut next).is_pending());
        line(&buffer, "c\n");
        assert_eq!(next.await, Some(batch("b\nc\n")));
        assert!(begin.elapsed() >= REST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_ends_the_rest() {
        let (buffer, mut rest) = (LineBuffer::new(1 << 20), Rest::default());
        line(&buffer, "a\n");
        assert_eq!(rest.next_batch(&buffer).await, Some(batch("a\n")));
        let mut next = Box::pin(rest.next_batch(&buffer));
        assert!(poll!(&mut next).is_pending());
        let long = "x".repeat(BATCH_LEN);
        line(&buffer, &long);
        assert!(poll!(&mut next).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_is_counted_and_reported_with_the_next_line_or_by_itself() {
        let (buffer, mut rest) = (LineBuffer::new(4), Rest::default());
        for text in ["ab", "cd", "ef", "gh"] {
            line(&buffer, text);
        }
        assert_eq!(rest.next_batch(&buffer).await, Some(batch("abcd")));
        line(&buffer, "ij");
        assert_eq!(rest.next_batch(&buffer).await, Some(batch("2 before ij")));
        for text in ["ab", "cd", "ef"] {
            line(&buffer, text);
        }
        assert_eq!(rest.next_batch(&buffer).await, Some(batch("abcd")));
        let gap = Batch { lines: Vec::new(), lost: 1 };
        assert_eq!(rest.next_batch(&buffer).await, Some(gap));
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_backlog_is_read_to_its_end_and_room_comes_with_reading() {
        let (buffer, mut rest) = (LineBuffer::new(4), Rest::default());
        line(&buffer, "abc");
        let mut room = Box::pin(buffer.writable());
        assert!(poll!(&mut room).is_pending());
        assert_eq!(rest.next_batch(&buffer).await, Some(batch("abc")));
        tokio::time::timeout(REST, room).await.unwrap();
        line(&buffer, "abc");
        buffer.close();
        assert_eq!(rest.next_batch(&buffer).await, Some(batch("abc")));
        assert_eq!(rest.next_batch(&buffer).await, None);
    }
}
