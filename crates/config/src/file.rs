//! Reads files up to a maximum size.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::suggest;

/// The contents of a file and its access. Not `Debug`: it may be a private key.
pub(crate) struct Contents {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// Whether its group or all users can read the file.
    pub(crate) is_open: bool,
}

/// Reads a file of at most `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Contents> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let is_open = metadata.is_file() && metadata.permissions().mode() & 0o044 != 0;
    // Allocated once: a buffer that grows leaves copies in memory.
    let expected = metadata.len().min(bytes_max).saturating_add(1);
    let expected = usize::try_from(expected).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected));
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(Contents { bytes, is_open })
}

/// Formats a path for messages, with the folder that a relative one starts from.
pub(crate) fn shown(path: &Path) -> String {
    format!("'{}'{}", suggest::shown(&path.to_string_lossy()), relative_to(path))
}

/// Formats the clause ` (relative to <working directory>)`; empty where the path is absolute.
pub fn relative_to(path: &Path) -> String {
    if path.is_absolute() {
        return String::new();
    }
    match std::env::current_dir() {
        Ok(folder) => format!(" (relative to {})", folder.to_string_lossy().escape_debug()),
        Err(_) => " (relative to the working directory, which is gone)".to_owned(),
    }
}
