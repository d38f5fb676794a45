//! Deletes a key, and the staging files that hold its value.

use std::io;

use kes_store::StoreError;
use kes_types::KeyName;
use rustix::fs::FileType;

use crate::directory::Directory;
use crate::error::FsError;
use crate::staging;

/// Removes `name`; durable on return. If `name` is a link, the link is removed, not its target.
pub(crate) fn delete(directory: &Directory, name: &KeyName) -> Result<(), StoreError> {
    let path = || directory.path_of(name.as_str());
    directory.verify()?;
    let Some(stat) = directory.entry_now(name.as_str())? else {
        return Err(StoreError::NotFound(name.clone()));
    };
    if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Symlink) {
        return Err(FsError::NotAFile { path: path() }.into());
    }
    // The value must not remain in staging files of an interrupted creation. Their names are
    // determined before the key is removed: afterwards nothing shows which file it was. If another
    // server deletes the key and creates it again in between, the new key is removed, and its
    // creation cleans up.
    let second_names =
        if stat.st_nlink > 1 { staging::second_names(directory, name)? } else { Vec::new() };
    match directory.syscalls.unlink(directory.fd(), name.as_str()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Another server has just deleted it.
            directory.verify()?;
            return Err(StoreError::NotFound(name.clone()));
        }
        Err(error) => return Err(FsError::io("remove key file", &path(), error).into()),
    }
    staging::remove_all(directory, &second_names)
        .and_then(|()| directory.sync())
        .and_then(|()| directory.verify())
        .map_err(|error| FsError::Unconfirmed { path: path(), source: Box::new(error) }.into())
}
