//! Files that a command reads: API keys, private keys, certificates.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::exit::Failure;

/// The longest file that is read, in bytes.
const BYTES_MAX: usize = 1024 * 1024;

/// Reads a whole file.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, Failure> {
    let path = path.as_ref();
    contents(path).map_err(|error| cannot_read(path, error))
}

/// A file that is of no use.
pub(crate) fn cannot_read(
    path: impl AsRef<Path>,
    error: impl Error + Send + Sync + 'static,
) -> Failure {
    Failure::new(error).context(format!("cannot read '{}'", path.as_ref().display()))
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // In one piece: a buffer that grows leaves copies behind.
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(BYTES_MAX).min(BYTES_MAX);
    let mut bytes = Vec::with_capacity(length + 1);
    let limit = u64::try_from(BYTES_MAX + 1).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}
