//! Abstracts the system calls on a key directory, so that tests can inject failures.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

/// The system calls that change a key directory or open its files.
///
/// All names are relative to an open directory.
pub(crate) trait Syscalls: fmt::Debug + Send + Sync + 'static {
    fn write_all(&self, file: &File, bytes: &[u8]) -> io::Result<()>;
    fn sync_file(&self, file: &File) -> io::Result<()>;
    fn link(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()>;
    fn rename(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()>;
    fn unlink(&self, directory: BorrowedFd<'_>, name: &str) -> io::Result<()>;
    fn sync_directory(&self, directory: BorrowedFd<'_>) -> io::Result<()>;
    fn read_directory(&self, directory: BorrowedFd<'_>) -> Result<Dir, Errno>;
    /// Opens a file in or below the directory, and never outside, whatever links are on the path.
    fn open_beneath(
        &self,
        directory: BorrowedFd<'_>,
        path: &str,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno>;
}

/// Forwards to the kernel.
#[derive(Debug)]
pub(crate) struct Kernel;

impl Syscalls for Kernel {
    fn write_all(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn link(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::linkat(directory, from, directory, to, AtFlags::empty())?)
    }

    fn rename(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(directory, from, directory, to)?)
    }

    fn unlink(&self, directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
    }

    fn sync_directory(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::fsync(directory))?)
    }

    fn read_directory(&self, directory: BorrowedFd<'_>) -> Result<Dir, Errno> {
        Dir::read_from(directory)
    }

    fn open_beneath(
        &self,
        directory: BorrowedFd<'_>,
        path: &str,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve)
    }
}
