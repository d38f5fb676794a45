//! Opens the file that the name of a key refers to, and never leaves the key directory.
//!
//! A key may be a symbolic link: Kubernetes mounts a secret as `my-key -> ..data/my-key`, `..data
//! -> ..<date>/`. If a path were checked first and used later, any part of it could be replaced in
//! between by a link that leaves the directory. So there is no separate check: the kernel resolves
//! and opens the path in one call that does not leave the directory (`openat2`). Where that call is
//! not available, each component is opened relative to its open parent directory, without following
//! links.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use kes_types::KeyName;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::directory::Directory;
use crate::error::FsError;
use crate::identity::is_held;

/// The flags to open a file for reading, without blocking on pipes and devices.
pub(crate) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The flags to open a file only to inspect it.
pub(crate) const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Why a path cannot be opened.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// A system call failed.
    System(Errno),
    /// The path leads out of the key directory.
    Outside,
    /// The key directory itself cannot be inspected, or is no longer at its path.
    Directory(FsError),
}

impl ResolveError {
    /// Converts the error of `action` on the key file `path`.
    pub(crate) fn of(self, action: &'static str, path: &Path) -> FsError {
        match self {
            Self::System(errno) => FsError::io(action, path, errno),
            Self::Outside => FsError::LeadsOutside { path: path.to_owned() },
            Self::Directory(error) => error,
        }
    }
}

impl From<Errno> for ResolveError {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

/// Opens the file that `name` refers to, through any number of links, if it is in or below the
/// directory.
pub(crate) fn open(
    directory: &Directory,
    name: &KeyName,
    flags: OFlags,
) -> Result<OwnedFd, ResolveError> {
    let opened =
        retry_on_intr(|| directory.syscalls.open_beneath(directory.fd(), name.as_str(), flags));
    match opened {
        Ok(file) => Ok(file),
        // In this order: an absolute link, which may lead back into the directory; a `..` during
        // any rename; a kernel before 5.6; a seccomp filter that does not know this call.
        Err(Errno::XDEV | Errno::AGAIN | Errno::NOSYS | Errno::PERM) => {
            Walk { directory, parents: Vec::new(), rest: vec![name.as_str().into()] }.open(flags)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// The maximum number of path components, those of all followed links included. It also limits the
/// number of open directories.
const STEPS_MAX: usize = 256;

/// Resolves a path component by component.
struct Walk<'a> {
    directory: &'a Directory,
    /// The open directories from below the key directory down to the current directory.
    parents: Vec<OwnedFd>,
    /// The remaining components, the next one last.
    rest: Vec<OsString>,
}

impl Walk<'_> {
    fn open(mut self, flags: OFlags) -> Result<OwnedFd, ResolveError> {
        for _ in 0..STEPS_MAX {
            let Some(step) = self.rest.pop() else {
                // A link led to a directory, by `..` or by an absolute path.
                return Ok(open_step(self.parent(), Path::new("."), flags)?);
            };
            if step == ".." {
                if self.parents.pop().is_none() {
                    self.rest.push(step);
                    self.return_below()?;
                }
                continue;
            }
            let is_last = self.rest.is_empty();
            let flags = if is_last { flags } else { LOOK | OFlags::DIRECTORY };
            match open_step(self.parent(), Path::new(&step), flags) {
                Ok(file) if is_last => {
                    if !is_link(&file)? {
                        return Ok(file);
                    }
                    self.follow(step, Errno::LOOP)?;
                }
                Ok(parent) => self.parents.push(parent),
                Err(errno @ (Errno::LOOP | Errno::NOTDIR)) => self.follow(step, errno)?,
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Prepends the target of the link `step` to the remaining components. `why` is the error of
    /// the attempt to open `step`.
    fn follow(&mut self, step: OsString, why: Errno) -> Result<(), ResolveError> {
        let target = match rustix::fs::readlinkat(self.parent(), &step, Vec::new()) {
            Ok(target) => PathBuf::from(OsString::from_vec(target.into_bytes())),
            // It was a link when it was opened, and is none any more.
            Err(Errno::INVAL) if why == Errno::LOOP => {
                self.rest.push(step);
                return Ok(());
            }
            Err(Errno::INVAL) => return Err(why.into()),
            Err(errno) => return Err(errno.into()),
        };
        if target.is_absolute() {
            self.parents.clear();
            return self.push(&below(self.directory, &target)?);
        }
        self.push(&target)
    }

    /// Continues in the key directory when the remaining components leave it and return to it.
    fn return_below(&mut self) -> Result<(), ResolveError> {
        let mut path = self.directory.path().to_owned();
        path.extend(self.rest.drain(..).rev());
        self.push(&below(self.directory, &path)?)
    }

    fn push(&mut self, path: &Path) -> Result<(), ResolveError> {
        let steps = path.components().rev().filter_map(|step| match step {
            Component::Normal(_) | Component::ParentDir => Some(step.as_os_str().to_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        });
        self.rest.extend(steps);
        if self.rest.len() > STEPS_MAX { Err(Errno::LOOP.into()) } else { Ok(()) }
    }

    fn parent(&self) -> BorrowedFd<'_> {
        self.parents.last().map_or_else(|| self.directory.fd(), |parent| parent.as_fd())
    }
}

/// Makes an absolute path relative to the key directory, if one of the directories on the path is
/// the key directory, whatever path it has.
///
/// Files outside are only compared with the key directory, and never read.
fn below(directory: &Directory, path: &Path) -> Result<PathBuf, ResolveError> {
    for above in path.ancestors() {
        let flags = LOOK | OFlags::DIRECTORY;
        let there = retry_on_intr(|| rustix::fs::openat(CWD, above, flags, Mode::empty()))
            .and_then(rustix::fs::fstat);
        match there {
            Ok(there) => {
                if is_held(directory.fd(), &there)?
                    && let Ok(below) = path.strip_prefix(above)
                    && !below.starts_with("..")
                {
                    return Ok(below.to_owned());
                }
            }
            Err(errno) if leads_nowhere(errno) || errno == Errno::ACCESS => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // If the key directory was moved, no path can lead to it: report that instead.
    directory.verify().map_err(ResolveError::Directory)?;
    Err(ResolveError::Outside)
}

/// Returns whether an error means that the path does not exist.
pub(crate) fn leads_nowhere(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
}

fn open_step(parent: BorrowedFd<'_>, step: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| rustix::fs::openat(parent, step, flags | OFlags::NOFOLLOW, Mode::empty()))
}

/// Returns whether the file is a symbolic link. Links are opened only with the flags of [`LOOK`].
fn is_link(file: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(file)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
