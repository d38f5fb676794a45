//! Creates a key: durably, and never over another.
//!
//! | step | a crash or an error after it leaves |
//! |---|---|
//! | 1. write the value aside, under a dot name | a leftover, invisible |
//! | 2. sync the file | a leftover, invisible |
//! | 3. link it to the key's name, if that is free | the key, whole, and marked as unconfirmed |
//! | 4. sync the directory | the key, durable |
//! | 5. unlink the dot name | |
//!
//! The mark is the file's second name. Between 3 and 4 a crash could still undo the link, so a
//! read that meets the mark syncs the directory itself before it returns the key: no client seals
//! data with a key that may not be there tomorrow.
//!
//! After step 3 others may have read the key and sealed data with it, so an error in step 4 does
//! not take it away again. The caller gets the error that the outcome is not known, and the mark stays.

use kes_store::{StoreError, VALUE_LEN_MAX};
use kes_types::{KeyName, Secret};

use crate::directory::Directory;
use crate::error::FsError;
use crate::staging::{Link, Staging};

/// How often the value is written aside. A server that starts takes the file for a leftover when its
/// clock is ahead, or when this server was suspended for long; see `staging::sweep`.
const ATTEMPTS_MAX: usize = 3;

/// Stores `value` under `name` if the name is free; durable on return.
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
        // Saves the work, and answers rightly on a full or read-only disk.
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
