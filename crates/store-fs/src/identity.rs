//! Decides whether a name refers to a file that is held open.
//!
//! The device and inode numbers of a file do not identify it: the file system reuses the inode
//! number of a removed file for a new one, often at once. They identify it only while the file is
//! held open, because then the number stays in use. So a file is opened first, then the other file
//! is inspected and compared, and at the end the open file is inspected again.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Stat, StatxFlags};
use rustix::io::Errno;

/// Returns whether `there` describes the file that is open as `held`. The file must have been
/// opened before `there` was read.
pub(crate) fn is_held(held: impl AsFd, there: &Stat) -> Result<bool, Errno> {
    // On a network file system another machine can remove an open file, and its number can be
    // reused. The server then reports a stale handle.
    if refresh(&held, "") == Err(Errno::STALE) {
        return Ok(false);
    }
    match rustix::fs::fstat(&held) {
        Ok(held) => Ok((there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::STALE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Makes a network file system revalidate a directory entry with its server; an empty name means
/// the descriptor itself.
///
/// A kernel that cannot do this (older than 4.11, or a seccomp filter forbids the call) uses its
/// cache, as it does without the call: only [`Errno::STALE`] is meaningful to callers.
pub(crate) fn refresh(at: impl AsFd, name: &str) -> Result<(), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    rustix::fs::statx(at, name, flags, StatxFlags::BASIC_STATS).map(drop)
}
