//! The directory that holds the keys.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, StatxFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{FsError, OpenError, OpenWarning};
use crate::syscalls::Syscalls;

/// An open directory, and the path by which it was found.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
    pub(crate) syscalls: Box<dyn Syscalls>,
}

impl Directory {
    /// Opens a directory; makes it and the directories above it when they are missing.
    pub(crate) fn open(path: &Path, syscalls: Box<dyn Syscalls>) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Open { path: path.to_owned(), source };
        // A daemon that changes its working directory later still means the same one.
        let path = std::path::absolute(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty()));
        let fd = match open() {
            Err(Errno::NOENT) => {
                make(&path)?;
                open()
            }
            result => result,
        }
        .map_err(|errno| failed(errno.into()))?;
        Ok(Self { path, fd, syscalls })
    }

    /// The path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the directory, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Warns when users other than the owner can get at the directory.
    pub(crate) fn open_to_others(&self) -> Result<Option<OpenWarning>, OpenError> {
        let stat = rustix::fs::fstat(&self.fd)
            .map_err(|errno| OpenError::Open { path: self.path.clone(), source: errno.into() })?;
        let mode = Mode::from_raw_mode(stat.st_mode).as_raw_mode();
        let others = (Mode::RWXG | Mode::RWXO).as_raw_mode();
        Ok((mode & others != 0)
            .then(|| OpenWarning::OpenToOthers { path: self.path.clone(), mode }))
    }

    /// Checks that the path still leads to this directory.
    ///
    /// Nothing found in a directory that was removed or mounted over says nothing about the keys,
    /// and a key written there would not be found again.
    pub(crate) fn verify(&self) -> Result<(), FsError> {
        let held = rustix::fs::fstat(&self.fd)
            .map_err(|errno| FsError::io("look at key directory", &self.path, errno))?;
        match rustix::fs::stat(&self.path) {
            Ok(there) if is_same(&there, &held) => Ok(()),
            Ok(_) => Err(FsError::Replaced { path: self.path.clone() }),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(FsError::Vanished { path: self.path.clone() }),
            Err(errno) => Err(FsError::io("look at key directory", &self.path, errno)),
        }
    }

    /// Looks at a directory entry itself, not at what a link leads to; `None` when there is none.
    pub(crate) fn entry(&self, name: &str) -> Result<Option<Stat>, FsError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FsError::io("look at key file", &self.path_of(name), errno)),
        }
    }

    /// Like [`Directory::entry`], but a network file system is made to ask its server first: it
    /// remembers for a while that a name was there, or was not.
    pub(crate) fn entry_now(&self, name: &str) -> Result<Option<Stat>, FsError> {
        self.refresh("");
        self.refresh(name);
        let entry = self.entry(name)?;
        if entry.is_none() {
            self.verify()?;
        }
        Ok(entry)
    }

    /// Opens a file below the directory for reading; links at its last step are not followed, and
    /// pipes and devices are not waited for.
    pub(crate) fn open_file(&self, path: impl rustix::path::Arg + Copy) -> Result<File, Errno> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(&self.fd, path, flags, Mode::empty())).map(File::from)
    }

    /// Reads the directory's entries, in no order.
    pub(crate) fn entries(&self) -> Result<Dir, FsError> {
        Dir::read_from(&self.fd)
            .map_err(|errno| FsError::io("read key directory", &self.path, errno))
    }

    /// Makes the names in the directory durable.
    pub(crate) fn sync(&self) -> Result<(), FsError> {
        self.syscalls
            .sync_directory(self.fd())
            .map_err(|error| FsError::io("sync key directory", &self.path, error))
    }

    /// Has a network file system ask its server about an entry, or with no name about the
    /// directory. A kernel that cannot (older than 4.11, or a filter forbids the call) is no worse
    /// off than before.
    fn refresh(&self, name: &str) {
        let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC;
        let _ = rustix::fs::statx(&self.fd, name, flags, StatxFlags::BASIC_STATS);
    }
}

/// Whether both are of one and the same file.
pub(crate) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

pub(crate) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Makes a directory, and those above it; the new names are durable on return.
fn make(path: &Path) -> Result<(), OpenError> {
    let mut result = DirBuilder::new().mode(0o700).create(path);
    let above = path.parent();
    if let (Err(error), Some(above)) = (&result, above)
        && error.kind() == io::ErrorKind::NotFound
    {
        make(above)?;
        result = DirBuilder::new().mode(0o700).create(path);
    }
    match result {
        Ok(()) => {}
        // Another server was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(OpenError::Make { path: path.to_owned(), source }),
    }
    match above {
        Some(above) => File::open(above)
            .and_then(|directory| directory.sync_all())
            .map_err(|source| OpenError::Make { path: above.to_owned(), source }),
        None => Ok(()),
    }
}
