//! The output of a process, line by line while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, copy_buf, sink};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a test waits for a line.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The output of a program: lines so far, and whether there may be more.
#[derive(Debug)]
pub struct Lines {
    state: watch::Receiver<State>,
    is_ignored: Arc<AtomicBool>,
    is_held: watch::Sender<bool>,
    _reader: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Reads `output` in the background, so that the program never waits for us.
    pub fn of(output: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let (sender, state) = watch::channel(State::default());
        let is_ignored = Arc::new(AtomicBool::new(false));
        let mut reader = JoinSet::new();
        let ignored = Arc::clone(&is_ignored);
        let is_held = watch::Sender::new(false);
        let mut held = is_held.subscribe();
        reader.spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while held.wait_for(|is_held| !is_held).await.is_ok()
                && !ignored.load(Ordering::Relaxed)
                && let Ok(Some(line)) = lines.next_line().await
            {
                sender.send_modify(|state| state.lines.push(line));
            }
            let _ = copy_buf(&mut lines.into_inner(), &mut sink()).await;
            sender.send_modify(|state| state.ended = true);
        });
        Self { state, is_ignored, is_held, _reader: reader }
    }

    /// Reads no more than one further line until [`Self::release`]: the program finds its output full.
    pub fn hold(&self) {
        self.is_held.send_replace(true);
    }

    /// Reads on.
    pub fn release(&self) {
        self.is_held.send_replace(false);
    }

    /// Keeps no more than one further line: there may be very many.
    pub fn ignore(&self) {
        self.is_ignored.store(true, Ordering::Relaxed);
    }

    /// The first line that matches `wanted`, whether it was written or is still to come. `None` when
    /// the program ended without one, or wrote none for a minute: a test that waits for what never
    /// comes fails then.
    pub async fn find(&self, wanted: impl Fn(&str) -> bool + Send + Sync) -> Option<String> {
        let mut state = self.state.clone();
        let there = |state: &State| state.lines.iter().find(|line| wanted(line)).cloned();
        let found = state.wait_for(|state| state.ended || there(state).is_some());
        let state = timeout(TIMEOUT, found).await.ok()?.ok()?;
        there(&state)
    }

    /// Returns everything, once the program has ended.
    pub async fn all(&self) -> String {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| state.ended).await;
        state.map_or_else(|_| String::new(), |state| state.lines.join("\n"))
    }

    /// Returns the lines that were written so far.
    pub fn so_far(&self) -> Vec<String> {
        self.state.borrow().lines.clone()
    }
}
