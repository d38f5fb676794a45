//! Reads keys.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use kes_store::{StoreError, VALUE_LEN_MAX};
use kes_types::{KeyName, Secret};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::directory::Directory;
use crate::error::FsError;
use crate::identity::is_held;
use crate::resolve::{self, READ, ResolveError};

/// The maximum number of attempts to find a file that exists by one observation and not by the
/// next: it was just created or deleted, or a link on its path was replaced.
const ATTEMPTS_MAX: usize = 8;

/// Returns the value stored under `name`.
pub(crate) fn read(directory: &Directory, name: &KeyName) -> Result<Secret, StoreError> {
    let path = directory.path_of(name.as_str());
    for _ in 0..ATTEMPTS_MAX {
        match resolve::open(directory, name, READ) {
            Ok(file) => return Ok(read_file(directory, &file.into(), &path)?),
            Err(ResolveError::System(Errno::NOENT)) => {
                if directory.entry_now(name.as_str())?.is_none() {
                    return Err(StoreError::NotFound(name.clone()));
                }
            }
            Err(error) => return Err(error.of("open key file", &path).into()),
        }
    }
    // The link is dangling.
    Err(FsError::io("open key file", &path, Errno::NOENT).into())
}

fn read_file(directory: &Directory, mut file: &File, path: &Path) -> Result<Secret, FsError> {
    let failed = |error: io::Error| FsError::io("read key file", path, error);
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(not_a_file(directory, file, path));
    }
    let len = usize::try_from(metadata.size()).unwrap_or(usize::MAX);
    if len > VALUE_LEN_MAX {
        return Err(FsError::TooLong { path: path.to_owned() });
    }
    if metadata.nlink() > 1 {
        // The key may not be durable yet: see `create.rs`.
        directory.sync()?;
    }
    // The buffer has one extra byte, so that a file that grows is detected, and the buffer is never
    // reallocated, which would leave a copy of the value in memory.
    let mut buffer = Zeroizing::new(vec![0; len + 1]);
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if filled != len {
        return Err(FsError::Changed { path: path.to_owned() });
    }
    buffer.truncate(len);
    Ok(Secret::new(std::mem::take(&mut *buffer)))
}

/// Returns the error for a path that is no regular file. A link to the key directory itself counts
/// as dangling.
fn not_a_file(directory: &Directory, file: &File, path: &Path) -> FsError {
    match rustix::fs::fstat(file).and_then(|stat| is_held(directory.fd(), &stat)) {
        Ok(true) => FsError::LeadsOutside { path: path.to_owned() },
        Ok(false) | Err(_) => FsError::NotAFile { path: path.to_owned() },
    }
}
