//! Wipes the stack after computations with keys, which leave copies of secrets there.

use std::hint::black_box;

/// The number of bytes of the stack that are wiped.
///
/// It is more than the deepest computation with a key uses: 5,336 bytes for AES-256-GCM on x86-64, 2,192
/// for ChaCha20-Poly1305. More would cost time, because it does not fit into the first-level cache.
/// Builds without optimisation need more: they copy values of 500 bytes, such as key schedules, from
/// frame to frame.
const WIPED_LEN: usize = match (cfg!(debug_assertions), cfg!(target_arch = "x86_64")) {
    (true, _) => 16 << 10,
    (false, true) => 6 << 10,
    (false, false) => 8 << 10,
};

/// Runs `work`, then overwrites the stack that it used.
///
/// `ring` returns tags and keys by value and wipes none of its own copies. The result of `work` must hold
/// its secrets on the heap: the caller's stack is not wiped.
pub(crate) fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let result = run(work);
    wipe();
    result
}

/// Calls `work` in a frame at the depth of the frame of `wipe`, which overwrites it.
#[inline(never)]
fn run<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    // Without `black_box` the compiler removes an array that is never read.
    black_box(&mut [0_u8; WIPED_LEN]);
}
