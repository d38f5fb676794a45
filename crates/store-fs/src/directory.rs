//! Holds the key directory open, and inspects its entries.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kes_types::Random;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{FsError, OpenError, OpenWarning};
use crate::identity::{is_held, refresh};
use crate::syscalls::Syscalls;

/// An open directory, and the path by which it was opened.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    pub(crate) syscalls: Box<dyn Syscalls>,
    /// The random source for names of staging files.
    pub(crate) random: Arc<dyn Random>,
}

impl Directory {
    /// Opens a directory; creates it and its parents when they do not exist.
    pub(crate) fn open(
        path: &Path,
        syscalls: Box<dyn Syscalls>,
        random: Arc<dyn Random>,
    ) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Open { path: path.to_owned(), source };
        // The absolute path stays valid when the process changes its working directory later.
        let path = std::path::absolute(path).map_err(failed)?;
        let fd = match open_directory(CWD, &path) {
            Err(Errno::NOENT) => make(&path)?,
            result => result.map_err(|errno| failed(errno.into()))?,
        };
        Ok(Self { path, fd, syscalls, random })
    }

    /// Returns the path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of a file in the directory, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Warns when users other than the owner have access to the directory.
    pub(crate) fn open_to_others(&self) -> Result<Option<OpenWarning>, OpenError> {
        let stat = rustix::fs::fstat(&self.fd)
            .map_err(|errno| OpenError::Open { path: self.path.clone(), source: errno.into() })?;
        let mode = Mode::from_raw_mode(stat.st_mode).as_raw_mode();
        let others = (Mode::RWXG | Mode::RWXO).as_raw_mode();
        Ok((mode & others != 0)
            .then(|| OpenWarning::OpenToOthers { path: self.path.clone(), mode }))
    }

    /// Checks that the path still refers to this directory.
    ///
    /// If the directory was removed or mounted over, a name that does not exist in it proves
    /// nothing about the keys, and a key written to it would not be found again.
    pub(crate) fn verify(&self) -> Result<(), FsError> {
        let failed = |errno| FsError::io("look at key directory", &self.path, errno);
        match rustix::fs::stat(&self.path) {
            Ok(there) if is_held(&self.fd, &there).map_err(failed)? => Ok(()),
            Ok(_) => Err(FsError::Replaced { path: self.path.clone() }),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(FsError::Vanished { path: self.path.clone() }),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Inspects a directory entry without following links; returns `None` when it does not exist.
    pub(crate) fn entry(&self, name: &str) -> Result<Option<Stat>, FsError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FsError::io("look at key file", &self.path_of(name), errno)),
        }
    }

    /// Does the same as [`Directory::entry`], but revalidates the entry with the server of a
    /// network file system, which otherwise caches for a while whether a name exists.
    pub(crate) fn entry_now(&self, name: &str) -> Result<Option<Stat>, FsError> {
        let _ = refresh(&self.fd, "");
        let _ = refresh(&self.fd, name);
        let entry = self.entry(name)?;
        if entry.is_none() {
            self.verify()?;
        }
        Ok(entry)
    }

    /// Opens an iterator over the entries of the directory, in no order.
    pub(crate) fn entries(&self) -> Result<Dir, FsError> {
        self.syscalls
            .read_directory(self.fd())
            .map_err(|errno| FsError::io("read key directory", &self.path, errno))
    }

    /// Makes changes of names in the directory durable.
    pub(crate) fn sync(&self) -> Result<(), FsError> {
        self.syscalls
            .sync_directory(self.fd())
            .map_err(|error| FsError::io("sync key directory", &self.path, error))
    }
}

pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Creates a directory and its parents, and opens it; the new names are durable on return.
fn make(path: &Path) -> Result<OwnedFd, OpenError> {
    let failed =
        |path: &Path, errno: Errno| OpenError::Make { path: path.to_owned(), source: errno.into() };
    let opened = |result: Result<OwnedFd, Errno>| {
        result.map_err(|errno| OpenError::Open { path: path.to_owned(), source: errno.into() })
    };
    let (Some(above), Some(name)) = (path.parent(), path.components().next_back()) else {
        return opened(open_directory(CWD, path));
    };
    let parent = match open_directory(CWD, above) {
        Err(Errno::NOENT) => make(above)?,
        result => result.map_err(|errno| failed(above, errno))?,
    };
    let name = Path::new(&name);
    match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
        // Another server created it first.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(path, errno)),
    }
    retry_on_intr(|| rustix::fs::fsync(&parent)).map_err(|errno| failed(above, errno))?;
    opened(open_directory(&parent, name))
}

fn open_directory(at: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat(&at, path, flags, Mode::empty()))
}
