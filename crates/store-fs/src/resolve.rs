//! Opens the file that a key's name leads to, never outside of the key directory.
//!
//! A key may be a link: Kubernetes mounts a secret as `my-key -> ..data/my-key`,
//! `..data -> ..<date>/`. Between a check of a path and its use anything on the path can be
//! exchanged for a link to elsewhere. So there is no check: the kernel resolves and opens in one
//! call that does not leave the directory (`openat2`), or, where it cannot, each step is opened
//! relative to the open directory before it, and never through a link.

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

/// How a file is opened to be read: pipes and devices are not waited for.
pub(crate) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// How a file is opened to be looked at.
pub(crate) const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Why what a name leads to cannot be opened.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// A call of the kernel's failed.
    System(Errno),
    /// The path leads out of the key directory.
    Outside,
    /// The key directory itself cannot be looked at, or is no longer at its path.
    Directory(FsError),
}

impl ResolveError {
    /// The error of `action`, which was about the key file `path`.
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

/// Opens what `name` leads to through any number of links, if that is in the directory or below.
pub(crate) fn open(
    directory: &Directory,
    name: &KeyName,
    flags: OFlags,
) -> Result<OwnedFd, ResolveError> {
    let opened =
        retry_on_intr(|| directory.syscalls.open_beneath(directory.fd(), name.as_str(), flags));
    match opened {
        Ok(file) => Ok(file),
        // In this order: an absolute link, which may lead back into the directory; a `..` at the
        // time of any rename; a kernel before 5.6; a filter of calls that does not know this one.
        Err(Errno::XDEV | Errno::AGAIN | Errno::NOSYS | Errno::PERM) => {
            Walk { directory, parents: Vec::new(), rest: vec![name.as_str().into()] }.open(flags)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// How many steps a path has at the most, those of all links on the way included. Bounds the open
/// directories, too.
const STEPS_MAX: usize = 256;

/// The resolution of a path, step by step.
struct Walk<'a> {
    directory: &'a Directory,
    /// The directories from the key directory (which is not one of them) to where the walk is.
    parents: Vec<OwnedFd>,
    /// The steps to go, the next one last.
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

    /// Puts the target of the link `step` in front of the steps to go. `why` is the error of an
    /// attempt to open it.
    fn follow(&mut self, step: OsString, why: Errno) -> Result<(), ResolveError> {
        let target = match rustix::fs::readlinkat(self.parent(), &step, Vec::new()) {
            Ok(target) => PathBuf::from(OsString::from_vec(target.into_bytes())),
            // It was a link a moment ago.
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

    /// Goes on in the key directory when the steps to go lead out of it and back.
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

/// Makes an absolute path relative to the key directory, if one of the directories that it names
/// is the key directory, by whatever path that is reached.
///
/// What lies outside is looked at, to compare it with the key directory, and not read.
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
    // A directory that is no longer where it was cannot be found in a path either.
    directory.verify().map_err(ResolveError::Directory)?;
    Err(ResolveError::Outside)
}

/// Whether an error is about the path, and says that there is nothing at its end.
pub(crate) fn leads_nowhere(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
}

fn open_step(parent: BorrowedFd<'_>, step: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry_on_intr(|| rustix::fs::openat(parent, step, flags | OFlags::NOFOLLOW, Mode::empty()))
}

/// A link is only ever opened to be looked at.
fn is_link(file: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(file)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}
