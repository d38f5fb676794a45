//! Wiping of the stack, where computations with keys leave copies of what they computed.

use std::hint::black_box;

/// How much of the stack is wiped, in bytes: more than the deepest computation with a key takes, 5,336
/// bytes for AES-256-GCM on x86-64, 2,192 for ChaCha20-Poly1305. More costs time: what is wiped leaves the
/// processor's first cache. Without optimisation values of 500 bytes, as key schedules are, are copied
/// from frame to frame.
const WIPED_LEN: usize = match (cfg!(debug_assertions), cfg!(target_arch = "x86_64")) {
    (true, _) => 16 << 10,
    (false, true) => 6 << 10,
    (false, false) => 8 << 10,
};

/// Runs `work`, then overwrites the stack that it used. `ring` returns tags and keys by value and wipes
/// none of its own copies.
///
/// What `work` returns must hold its secrets on the heap: the caller's stack is not wiped.
pub(crate) fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let result = run(work);
    wipe();
    result
}

/// The frame that `wipe` overwrites, with all below it: both are called from the same place.
#[inline(never)]
fn run<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    // Without `black_box` the compiler leaves out an array that nobody reads.
    black_box(&mut [0_u8; WIPED_LEN]);
}
