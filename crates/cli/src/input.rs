//! Files that a command reads: API keys, private keys, certificates, passwords.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use kes_types::Secret;

use crate::exit::Failure;

/// The longest file that is read where nothing else is said, in bytes.
pub(crate) const BYTES_MAX: usize = 1024 * 1024;

/// Reads a whole file.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<Secret, Failure> {
    let path = path.as_ref();
    let contents = File::open(path).and_then(|file| all(file, BYTES_MAX));
    contents.map_err(|error| cannot_read(path, error))
}

/// Reads all that there is; an error if that is more than `bytes_max`.
pub(crate) fn all(reader: impl Read, bytes_max: usize) -> io::Result<Secret> {
    // In one piece: a buffer that grows leaves copies behind.
    let mut bytes = Vec::with_capacity(bytes_max + 1);
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes)?;
    let contents = Secret::new(bytes);
    if contents.expose().len() > bytes_max {
        let reason = format!("larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(contents)
}

/// A file that is of no use.
pub(crate) fn cannot_read(
    path: impl AsRef<Path>,
    error: impl Error + Send + Sync + 'static,
) -> Failure {
    Failure::new(error).context(format!("cannot read '{}'", path.as_ref().display()))
}
