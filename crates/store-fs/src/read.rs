//! How a key is read.

use std::fs::{File, canonicalize};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kes_store::{StoreError, VALUE_LEN_MAX};
use kes_types::{KeyName, Secret};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::directory::Directory;
use crate::error::FsError;

/// Returns the value stored under `name`.
pub(crate) fn read(directory: &Directory, name: &KeyName) -> Result<Secret, StoreError> {
    let path = directory.path_of(name.as_str());
    let file = match directory.open_file(name.as_str()) {
        Err(Errno::NOENT) => {
            if directory.entry_now(name.as_str())?.is_none() {
                return Err(StoreError::NotFound(name.clone()));
            }
            // It was created this moment, by another server.
            directory.open_file(name.as_str())
        }
        result => result,
    };
    let file = match file {
        Err(Errno::LOOP) => {
            let target = target_of_link(directory, name.as_str())?;
            directory.open_file(target.as_path())
        }
        result => result,
    };
    let file = file.map_err(|errno| FsError::io("open key file", &path, errno))?;
    Ok(read_file(directory, &file, &path)?)
}

/// Follows a link, and the links it leads to (Kubernetes mounts a secret as `my-key ->
/// ..data/my-key`, `..data -> ..<date>/`), to a path relative to the directory.
pub(crate) fn target_of_link(directory: &Directory, name: &str) -> Result<PathBuf, FsError> {
    directory.verify()?;
    let path = directory.path_of(name);
    let failed = |error: io::Error| FsError::io("follow link", &path, error);
    let root = canonicalize(directory.path()).map_err(failed)?;
    let target = canonicalize(&path).map_err(failed)?;
    match target.strip_prefix(&root) {
        Ok(inside) if inside != Path::new("") => Ok(inside.to_owned()),
        _ => Err(FsError::LeadsOutside { path }),
    }
}

fn read_file(directory: &Directory, mut file: &File, path: &Path) -> Result<Secret, FsError> {
    let failed = |error: io::Error| FsError::io("read key file", path, error);
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(FsError::NotAFile { path: path.to_owned() });
    }
    let len = usize::try_from(metadata.size()).unwrap_or(usize::MAX);
    if len > VALUE_LEN_MAX {
        return Err(FsError::TooLong { path: path.to_owned() });
    }
    if metadata.nlink() > 1 {
        // Perhaps not durable yet: see `create.rs`.
        directory.sync()?;
    }
    // One byte more than there should be, so that a file that grows is noticed and the buffer
    // never moves and leaves a copy behind.
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
