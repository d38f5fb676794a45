//! Lists keys.

use kes_store::{ListQuery, Page, StoreError};
use kes_types::KeyName;
use rustix::fs::{DirEntry, FileType};
use rustix::io::Errno;

use crate::directory::{Directory, is_regular};
use crate::error::FsError;
use crate::resolve::{self, LOOK, ResolveError, leads_nowhere};

/// Lists the names of regular files, and of links to regular files in or below the directory.
pub(crate) fn list(directory: &Directory, query: &ListQuery) -> Result<Page, StoreError> {
    let mut failure = None;
    let names = directory
        .entries()?
        .map_while(|entry| match key_name(directory, entry, query) {
            Ok(name) => Some(name),
            Err(error) => {
                failure = Some(error);
                None
            }
        })
        .flatten();
    let page = Page::select(names, query);
    if let Some(error) = failure {
        return Err(error.into());
    }
    directory.verify()?;
    Ok(page)
}

/// Returns the name of an entry if it is a key that matches the query.
fn key_name(
    directory: &Directory,
    entry: Result<DirEntry, Errno>,
    query: &ListQuery,
) -> Result<Option<KeyName>, FsError> {
    let entry =
        entry.map_err(|errno| FsError::io("read key directory", directory.path(), errno))?;
    let Some(name) = entry.file_name().to_str().ok().and_then(|text| KeyName::parse(text).ok())
    else {
        return Ok(None);
    };
    let is_key = query.wants(&name)
        && match entry.file_type() {
            FileType::RegularFile => true,
            FileType::Symlink => leads_to_key(directory, &name)?,
            // Some file systems do not report the type.
            FileType::Unknown => match directory.entry(name.as_str())? {
                Some(stat) if is_regular(&stat) => true,
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    leads_to_key(directory, &name)?
                }
                _ => false,
            },
            _ => false,
        };
    Ok(is_key.then_some(name))
}

/// Returns whether a link leads to a regular file in or below the directory. If an error leaves
/// this unknown, the listing fails: an existing key is never omitted.
fn leads_to_key(directory: &Directory, name: &KeyName) -> Result<bool, FsError> {
    let failed = |error: ResolveError| error.of("follow link", &directory.path_of(name.as_str()));
    match resolve::open(directory, name, LOOK) {
        Ok(file) => {
            let stat = rustix::fs::fstat(file).map_err(|errno| failed(errno.into()))?;
            Ok(is_regular(&stat))
        }
        Err(ResolveError::Outside) => Ok(false),
        Err(ResolveError::System(errno)) if leads_nowhere(errno) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}
