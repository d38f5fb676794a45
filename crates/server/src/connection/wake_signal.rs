//! Wakes a task once for any number of wakes of the futures that it polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Wake;

use futures_util::task::AtomicWaker;

/// Wakes the task, but not while it is running: then it takes one more turn by itself.
#[derive(Debug, Default)]
pub(super) struct Signal {
    pub(super) task: AtomicWaker,
    state: AtomicU8,
}

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const WOKEN: u8 = 2;

impl Signal {
    pub(super) fn begin(&self) {
        self.state.store(RUNNING, Ordering::Release);
    }

    /// Whether nothing has happened since [`Self::begin`]; then the next wake is the task's.
    pub(super) fn is_quiet(&self) -> bool {
        let (ok, failed) = (Ordering::AcqRel, Ordering::Acquire);
        self.state.compare_exchange(RUNNING, WAITING, ok, failed).is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == WAITING {
            self.task.wake();
        }
    }
}
