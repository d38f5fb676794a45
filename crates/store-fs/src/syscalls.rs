//! The system calls by which a key comes and goes, as an argument: a test makes them fail.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;

use rustix::fs::AtFlags;
use rustix::io::retry_on_intr;

/// What changes a directory of keys.
pub(crate) trait Syscalls: fmt::Debug + Send + Sync + 'static {
    fn write_all(&self, file: &File, bytes: &[u8]) -> io::Result<()>;
    fn sync_file(&self, file: &File) -> io::Result<()>;
    fn link(&self, directory: BorrowedFd<'_>, from: &str, to: &str) -> io::Result<()>;
    fn unlink(&self, directory: BorrowedFd<'_>, name: &str) -> io::Result<()>;
    fn sync_directory(&self, directory: BorrowedFd<'_>) -> io::Result<()>;
}

/// The kernel's.
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

    fn unlink(&self, directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
    }

    fn sync_directory(&self, directory: BorrowedFd<'_>) -> io::Result<()> {
        Ok(retry_on_intr(|| rustix::fs::fsync(directory))?)
    }
}
