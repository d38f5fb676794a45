//! Creates a key durably, and never overwrites another key.
//!
//! | step | state after a crash or an error that follows the step |
//! |---|---|
//! | 1. write the value to a staging file, under a dot name | a leftover, invisible |
//! | 2. sync the file | a leftover, invisible |
//! | 3. link it to the name of the key, if the name does not exist | the key, complete, unconfirmed |
//! | 4. sync the directory | the key, durable |
//! | 5. unlink the dot name | |
//!
//! An unconfirmed key is marked by the second name of its file. Between steps 3 and 4 a crash could
//! still undo the link. So a read that finds the mark syncs the directory itself before it returns
//! the key: no client encrypts data with a key that a crash could remove.
//!
//! After step 3 other clients may have read the key and encrypted data with it, so an error in step
//! 4 does not remove the key. The caller receives the error that the outcome is unknown, and the
//! mark remains.

use kes_store::{StoreError, VALUE_LEN_MAX};
use kes_types::{KeyName, Secret};

use crate::directory::Directory;
use crate::error::FsError;
use crate::staging::{Link, Staging};

/// The maximum number of staging files that are written for one creation. Another server that starts
/// removes the file as a leftover when its clock is ahead, or when this server was suspended for
/// long; see `staging::sweep`.
const ATTEMPTS_MAX: usize = 3;

/// Stores `value` under `name` if no key of that name exists; the key is durable on return.
pub(crate) fn create(
    directory: &Directory,
    name: &KeyName,
    value: &Secret,
) -> Result<(), StoreError> {
    let path = || directory.path_of(name.as_str());
    if value.expose().len() > VALUE_LEN_MAX {
        return Err(FsError::TooLong { path: path() }.into());
    }
    for _ in 0..ATTEMPTS_MAX {
        directory.verify()?;
        // This avoids needless writes, and returns the correct error on a full or read-only disk.
        if directory.entry_now(name.as_str())?.is_some() {
            return Err(StoreError::Exists(name.clone()));
        }
        let mut staging = Staging::write(directory, name, value.expose())?;
        match staging.link(name)? {
            Link::Made => {
                return directory.sync().and_then(|()| directory.verify()).map_err(|error| {
                    staging.keep();
                    FsError::Unconfirmed { path: path(), source: Box::new(error) }.into()
                });
            }
            Link::Taken => return Err(StoreError::Exists(name.clone())),
            Link::Swept => {}
        }
    }
    directory.verify()?;
    Err(FsError::Swept { path: path() }.into())
}
