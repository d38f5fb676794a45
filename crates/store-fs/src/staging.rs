//! Files on their way to become keys, under names that no key can have.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use kes_types::KeyName;
use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use crate::directory::{Directory, is_regular, is_same};
use crate::error::{FsError, OpenWarning};

/// A whole and synced value under a name of its own; removed when dropped, unless kept.
#[derive(Debug)]
pub(crate) struct Staging<'a> {
    directory: &'a Directory,
    name: String,
    /// Where the value shall go, for messages.
    target: PathBuf,
    file: File,
    keep: bool,
}

/// How an attempt to link a file into place ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// The file stands under the name.
    Made,
    /// Another file does.
    Taken,
}

impl<'a> Staging<'a> {
    /// Writes the value for `target` aside and syncs it.
    pub(crate) fn write(
        directory: &'a Directory,
        target: &KeyName,
        value: &[u8],
    ) -> Result<Self, FsError> {
        let target = directory.path_of(target.as_str());
        let name = fresh_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = retry_on_intr(|| rustix::fs::openat(directory.fd(), name.as_str(), flags, mode))
            .map_err(|errno| FsError::io("create a file for", &target, errno))?;
        // From here on the file is removed again whichever way this ends.
        let staging = Self { directory, name, target, file: file.into(), keep: false };
        let failed = |action, error| FsError::io(action, &staging.target, error);
        let syscalls = &directory.syscalls;
        syscalls.write_all(&staging.file, value).map_err(|error| failed("write", error))?;
        syscalls.sync_file(&staging.file).map_err(|error| failed("sync", error))?;
        Ok(staging)
    }

    /// Links the file to `name` if nothing is there.
    ///
    /// NFS repeats a request whose answer was lost, and then reports that the name is taken (by
    /// this very file), or an error after it was done. So whatever the call says, the file found
    /// under the name decides.
    pub(crate) fn link(&mut self, name: &KeyName) -> Result<Link, FsError> {
        let fd = self.directory.fd();
        let Err(error) = self.directory.syscalls.link(fd, &self.name, name.as_str()) else {
            return Ok(Link::Made);
        };
        let is_taken = Errno::from_io_error(&error) == Some(Errno::EXIST);
        let failed = FsError::io("hard-link a file to", &self.target, error);
        match self.stands_under(name) {
            Ok(true) => Ok(Link::Made),
            Ok(false) if is_taken => Ok(Link::Taken),
            Ok(false) => Err(failed),
            Err(error) => {
                self.keep();
                Err(FsError::Unconfirmed { path: self.target.clone(), source: Box::new(error) })
            }
        }
    }

    /// Leaves the file under its name: the second name marks the key as unconfirmed.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    fn stands_under(&self, name: &KeyName) -> Result<bool, FsError> {
        let ours = rustix::fs::fstat(&self.file)
            .map_err(|errno| FsError::io("look at the file for", &self.target, errno))?;
        Ok(self.directory.entry(name.as_str())?.is_some_and(|there| is_same(&there, &ours)))
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.keep {
            // A file that stays is invisible, and swept at a later start.
            let _ = self.directory.syscalls.unlink(self.directory.fd(), &self.name);
        }
    }
}

/// Removes what was left behind more than [`LEFTOVER_AGE_MIN`] ago. Anything younger may belong
/// to another server that is at work.
pub(crate) fn sweep(directory: &Directory, now: SystemTime) -> Vec<OpenWarning> {
    let is_old = |stat: &Stat| {
        let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
        let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        modified
            .and_then(|modified| now.duration_since(modified).ok())
            .is_some_and(|age| age > LEFTOVER_AGE_MIN)
    };
    let names = match leftovers(directory, is_old) {
        Ok(names) if names.is_empty() => return Vec::new(),
        // A leftover marks its key as unconfirmed; it must not go before the key is durable.
        Ok(names) => directory.sync().map(|()| names),
        Err(error) => Err(error),
    };
    let warning = |path, source| OpenWarning::NotSwept { path, source };
    match names {
        Ok(names) => names
            .into_iter()
            .filter_map(|name| match directory.syscalls.unlink(directory.fd(), &name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Some(warning(directory.path_of(&name), error))
                }
                _ => None,
            })
            .collect(),
        Err(error) => vec![warning(directory.path().to_owned(), io::Error::other(error))],
    }
}

/// Removes the second names of a key file.
pub(crate) fn remove_links_to(directory: &Directory, file: &Stat) -> Result<(), FsError> {
    for name in leftovers(directory, |stat| is_same(stat, file))? {
        match directory.syscalls.unlink(directory.fd(), &name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FsError::io("remove", &directory.path_of(&name), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// How old a file must be before it counts as left behind.
const LEFTOVER_AGE_MIN: Duration = Duration::from_hours(1);

const HEAD: &str = ".kes-";
const TAIL: &str = ".tmp";

/// Unique, not secret: [`RandomState`] draws new keys from the system's randomness per process and
/// counts on from there, and the file is opened exclusively.
fn fresh_name() -> String {
    format!("{HEAD}{:016x}{TAIL}", RandomState::new().hash_one(()))
}

fn is_staging_name(name: &str) -> bool {
    name.strip_prefix(HEAD)
        .and_then(|name| name.strip_suffix(TAIL))
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn leftovers(
    directory: &Directory,
    wanted: impl Fn(&Stat) -> bool,
) -> Result<Vec<String>, FsError> {
    let mut names = Vec::new();
    for entry in directory.entries()? {
        let entry =
            entry.map_err(|errno| FsError::io("read key directory", directory.path(), errno))?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if is_staging_name(name)
            && let Some(stat) = directory.entry(name)?
            && is_regular(&stat)
            && wanted(&stat)
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
