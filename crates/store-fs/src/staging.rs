//! Writes new keys to staging files, under names that are no valid key names.
//!
//! Names of staging files are random and used once. So a name that belonged to a certain file
//! refers to this file or to none, and it is safe to remove or rename the file by name.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use kes_types::{KeyName, Random};
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::directory::{Directory, is_regular};
use crate::error::{FsError, OpenWarning};
use crate::identity::is_held;
use crate::resolve::LOOK;

/// A complete and synced staging file; removed when dropped, unless kept.
#[derive(Debug)]
pub(crate) struct Staging<'a> {
    directory: &'a Directory,
    name: String,
    /// The path of the key file, for messages.
    target: PathBuf,
    file: File,
    keep: bool,
}

/// The result of an attempt to link a staging file to the name of a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// The file has the name of the key.
    Made,
    /// Another file has the name of the key.
    Taken,
    /// No file has the name, and the staging file no longer exists: another server removed it as a
    /// leftover.
    Swept,
}

impl<'a> Staging<'a> {
    /// Writes the value for `target` to a staging file and syncs it.
    pub(crate) fn write(
        directory: &'a Directory,
        target: &KeyName,
        value: &[u8],
    ) -> Result<Self, FsError> {
        let target = directory.path_of(target.as_str());
        let name = fresh_name(&*directory.random)
            .map_err(|error| FsError::io("make up a name for", &target, error))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = retry_on_intr(|| rustix::fs::openat(directory.fd(), name.as_str(), flags, mode))
            .map_err(|errno| FsError::io("create a file for", &target, errno))?;
        // From here on the file is removed on every exit path.
        let staging = Self { directory, name, target, file: file.into(), keep: false };
        let failed = |action, error| FsError::io(action, &staging.target, error);
        let syscalls = &directory.syscalls;
        syscalls.write_all(&staging.file, value).map_err(|error| failed("write", error))?;
        syscalls.sync_file(&staging.file).map_err(|error| failed("sync", error))?;
        Ok(staging)
    }

    /// Links the file to `name` if no file of that name exists.
    ///
    /// NFS repeats a request whose response was lost, and then reports that the name exists (it is
    /// this very file), or reports an error although the request succeeded. So the file found under
    /// the name decides, whatever the call returned.
    pub(crate) fn link(&mut self, name: &KeyName) -> Result<Link, FsError> {
        let fd = self.directory.fd();
        let Err(error) = self.directory.syscalls.link(fd, &self.name, name.as_str()) else {
            return Ok(Link::Made);
        };
        let errno = Errno::from_io_error(&error);
        let failed = FsError::io("hard-link a file to", &self.target, error);
        match self.stands_under(name) {
            Ok(true) => Ok(Link::Made),
            Ok(false) if errno == Some(Errno::EXIST) => Ok(Link::Taken),
            Ok(false) if errno == Some(Errno::NOENT) => Ok(Link::Swept),
            Ok(false) => Err(failed),
            Err(error) => {
                self.keep();
                Err(FsError::Unconfirmed { path: self.target.clone(), source: Box::new(error) })
            }
        }
    }

    /// Keeps the staging file as the second name of the key, which marks the key as unconfirmed.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    fn stands_under(&self, name: &KeyName) -> Result<bool, FsError> {
        match self.directory.entry(name.as_str())? {
            Some(there) => is_held(&self.file, &there)
                .map_err(|errno| FsError::io("look at the file for", &self.target, errno)),
            None => Ok(false),
        }
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // A file that remains is invisible, and is removed at a later start.
            let _ = self.directory.syscalls.unlink(self.directory.fd(), &self.name);
        }
    }
}

/// Removes staging files that are older than [`LEFTOVER_AGE_MIN`]. A younger file may belong to
/// another server that is still creating a key.
///
/// So may an older file, when that server was suspended or the clocks differ. So each file is
/// renamed first. Then that server can no longer link it to the name of a key, and writes another
/// file. If it linked the file before, the link is synced before the staging file, which marks the
/// key, is removed.
pub(crate) fn sweep(directory: &Directory, now: SystemTime) -> Vec<OpenWarning> {
    let is_old = |stat: &Stat| {
        let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
        let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        modified
            .and_then(|modified| now.duration_since(modified).ok())
            .is_some_and(|age| age > LEFTOVER_AGE_MIN)
    };
    let warning = |path, source| OpenWarning::NotSwept { path, source };
    let of_directory =
        |error: FsError| warning(directory.path().to_owned(), io::Error::other(error));
    let old = match leftovers(directory, |stat| Ok(is_old(stat))) {
        Ok(old) => old,
        Err(error) => return vec![of_directory(error)],
    };
    let mut warnings = Vec::new();
    let mut renamed = Vec::new();
    for name in old {
        let fresh = fresh_name(&*directory.random).and_then(|fresh| {
            directory.syscalls.rename(directory.fd(), &name, &fresh)?;
            Ok(fresh)
        });
        match fresh {
            Ok(fresh) => renamed.push(fresh),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warnings.push(warning(directory.path_of(&name), error)),
        }
    }
    if renamed.is_empty() {
        return warnings;
    }
    if let Err(error) = directory.sync() {
        warnings.push(of_directory(error));
        return warnings;
    }
    for name in renamed {
        if let Err(error) = remove(directory, &name) {
            warnings.push(warning(directory.path_of(&name), error));
        }
    }
    warnings
}

/// Returns the other names, in no order, of the file that has the name of a key.
///
/// Returns none when the key does not exist any more. The file is open while it is compared, and
/// closed when this returns: NFS keeps a file that is removed while open, under a temporary name of
/// its own.
pub(crate) fn second_names(directory: &Directory, key: &KeyName) -> Result<Vec<String>, FsError> {
    let failed = |errno| FsError::io("look at key file", &directory.path_of(key.as_str()), errno);
    let flags = LOOK | OFlags::NOFOLLOW;
    let opened =
        retry_on_intr(|| rustix::fs::openat(directory.fd(), key.as_str(), flags, Mode::empty()));
    match opened {
        Ok(file) => leftovers(directory, |stat| is_held(&file, stat).map_err(failed)),
        Err(Errno::NOENT) => Ok(Vec::new()),
        Err(errno) => Err(failed(errno)),
    }
}

/// Removes staging files by name.
pub(crate) fn remove_all(directory: &Directory, names: &[String]) -> Result<(), FsError> {
    for name in names {
        remove(directory, name)
            .map_err(|error| FsError::io("remove", &directory.path_of(name), error))?;
    }
    Ok(())
}

fn remove(directory: &Directory, name: &str) -> io::Result<()> {
    match directory.syscalls.unlink(directory.fd(), name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The minimum age of a staging file that is removed as a leftover.
const LEFTOVER_AGE_MIN: Duration = Duration::from_hours(1);

const HEAD: &str = ".kes-";
const TAIL: &str = ".tmp";

/// Generates a name that no other file has or had.
fn fresh_name(random: &dyn Random) -> Result<String, io::Error> {
    let id = random.identifier::<8>().map_err(io::Error::other)?;
    Ok(format!("{HEAD}{id}{TAIL}"))
}

fn is_staging_name(name: &str) -> bool {
    name.strip_prefix(HEAD)
        .and_then(|name| name.strip_suffix(TAIL))
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn leftovers(
    directory: &Directory,
    wanted: impl Fn(&Stat) -> Result<bool, FsError>,
) -> Result<Vec<String>, FsError> {
    let mut names = Vec::new();
    for entry in directory.entries()? {
        let entry =
            entry.map_err(|errno| FsError::io("read key directory", directory.path(), errno))?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if is_staging_name(name)
            && let Some(stat) = directory.entry(name)?
            && is_regular(&stat)
            && wanted(&stat)?
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
