//! Tells whether a name leads to a file that is held open.
//!
//! The number of a file (its device and inode) is no identity: the file system gives the number of
//! a removed file to the next new one, often at once. It is one only while the file is held open,
//! because then the number stays in use. So a file is opened first, whatever is compared with it
//! is looked at after that, and at the end the open file is looked at again.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Stat, StatxFlags};
use rustix::io::Errno;

/// Tells whether `there` is of the file that is held open as `held`, since before `there` was
/// looked at.
pub(crate) fn is_held(held: impl AsFd, there: &Stat) -> Result<bool, Errno> {
    // On a network file system an open file can be removed, and its number given away, by another
    // machine. The server then says that the handle is stale.
    if refresh(&held, "") == Err(Errno::STALE) {
        return Ok(false);
    }
    match rustix::fs::fstat(&held) {
        Ok(held) => Ok((there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)),
        Err(Errno::STALE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Has a network file system ask its server about an entry of a directory, or with no name about
/// the descriptor itself.
///
/// A kernel that cannot (older than 4.11, or a filter forbids the call) answers from its cache, as
/// it does without the call: only [`Errno::STALE`] means something to callers.
pub(crate) fn refresh(at: impl AsFd, name: &str) -> Result<(), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
    rustix::fs::statx(at, name, flags, StatxFlags::BASIC_STATS).map(drop)
}
