//! Loads of hostile peers: started, counted and stopped.

pub(crate) mod absent;
pub(crate) mod body;
pub(crate) mod hold;
pub(crate) mod storm;
pub(crate) mod unread;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

/// How long a count that is not reached is waited for.
const TIMEOUT: Duration = Duration::from_mins(2);

/// How long a count stays as it is until it counts as settled.
const QUIET: Duration = Duration::from_millis(500);

/// Hostile work on a thread of its own, until it is stopped or dropped. All its connections end
/// with it.
#[derive(Debug)]
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

/// What happened to a load, counted by name.
#[derive(Debug, Default)]
pub(crate) struct Counters(watch::Sender<BTreeMap<String, usize>>);

impl Load {
    /// Starts so many workers; each does its work again and again. Work that is done once ends by
    /// waiting for ever.
    pub(crate) fn start<W>(
        workers: usize,
        work: impl Fn(usize, Arc<Counters>) -> W + Clone + Send + 'static,
    ) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (stop, mut stopped) = watch::channel(false);
        let counters = Arc::new(Counters::default());
        let counts = Arc::clone(&counters);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(async {
                let mut running = JoinSet::new();
                for worker in 0..workers {
                    let (work, counts) = (work.clone(), Arc::clone(&counts));
                    running.spawn(async move {
                        loop {
                            let done = work(worker, Arc::clone(&counts));
                            done.await;
                            yield_now().await;
                        }
                    });
                }
                tokio::select! {
                    _ = stopped.wait_for(|is_stopped| *is_stopped) => {}
                    Some(ended) = running.join_next() => ended.expect("work does not panic"),
                }
            });
        });
        Self { stop, thread: Some(thread), counters }
    }

    /// What happened so far.
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends it, and gives what happened.
    ///
    /// # Panics
    /// If the load did.
    pub(crate) fn stop(mut self) -> Arc<Counters> {
        self.stop.send_replace(true);
        let thread = self.thread.take().expect("it is stopped once");
        thread.join().expect("the load does not panic");
        Arc::clone(&self.counters)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // The test has failed already.
            let _ = thread.join();
        }
    }
}

impl Counters {
    /// Counts one.
    pub(crate) fn count(&self, what: impl Into<String>) {
        self.0.send_modify(|counts| *counts.entry(what.into()).or_default() += 1);
    }

    /// How many there were whose names begin like that.
    pub(crate) fn of(&self, start: &str) -> usize {
        sum(&self.0.borrow(), start)
    }

    /// Waits until there were so many whose names begin like that.
    ///
    /// # Panics
    /// If they do not come.
    pub(crate) async fn reached(&self, start: &str, wanted: usize) {
        let mut counts = self.0.subscribe();
        let reached = timeout(TIMEOUT, counts.wait_for(|counts| sum(counts, start) >= wanted));
        let is_reached = reached.await.is_ok();
        assert!(is_reached, "no {wanted} of '{start}' within {TIMEOUT:?}: {self}");
    }

    /// Waits until there are no more of them for a while, once there were so many.
    ///
    /// # Panics
    /// If there are never so many.
    pub(crate) async fn settled(&self, start: &str, wanted: usize) {
        self.reached(start, wanted).await;
        let mut so_far = self.of(start);
        let mut counts = self.0.subscribe();
        let more = |counts: &BTreeMap<String, usize>, than| sum(counts, start) > than;
        while timeout(QUIET, counts.wait_for(|counts| more(counts, so_far))).await.is_ok() {
            so_far = self.of(start);
        }
    }
}

fn sum(counts: &BTreeMap<String, usize>, start: &str) -> usize {
    counts.iter().filter(|(what, _)| what.starts_with(start)).map(|(_, count)| count).sum()
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (what, count)) in self.0.borrow().iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {what}")?;
        }
        Ok(())
    }
}
