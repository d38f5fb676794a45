//! Locks of values that stay whole when a task panics.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a value that every operation leaves whole, even if a task panicked while it held the lock.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
