//! Locks that a panic elsewhere does not taint.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a value that every operation of this crate leaves whole, even if a task panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
