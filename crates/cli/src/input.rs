//! Files that a command reads: API keys, private keys, certificates, passwords.

use std::error::Error;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use kes_types::Secret;

use crate::exit::Failure;

/// The longest file that is read where nothing else is said, in bytes.
pub(crate) const BYTES_MAX: usize = 1024 * 1024;

/// The argument that means standard input instead of an API key or a file.
pub(crate) const STANDARD_INPUT: &str = "-";

/// The lines around a PEM section.
const PEM_BEGIN: &[u8] = b"-----BEGIN ";
const PEM_END: &[u8] = b"-----END ";

/// Reads all of standard input.
///
/// On a terminal it asks for a line and does not show the typed text. If the line begins a PEM section, it
/// reads the section to its end.
pub(crate) fn standard(prompt: &str) -> io::Result<Secret> {
    let input = io::stdin();
    if input.is_terminal() {
        return lines(ask(prompt)?, || ask(""));
    }
    all(input.lock(), BYTES_MAX)
}

/// Asks for a line on the terminal without showing the typed text.
pub(crate) fn ask(prompt: &str) -> io::Result<Secret> {
    rpassword::prompt_password(prompt).map(Secret::from)
}

/// Returns a line; if it begins a PEM section, with the lines up to the section's end.
fn lines(first: Secret, mut next: impl FnMut() -> io::Result<Secret>) -> io::Result<Secret> {
    let begins_with = |line: &Secret, text| line.expose().trim_ascii_start().starts_with(text);
    if !begins_with(&first, PEM_BEGIN) {
        return Ok(first);
    }
    let mut section = vec![first];
    let mut len = 0;
    loop {
        let line = next()?;
        len += line.expose().len() + 1;
        if len > BYTES_MAX {
            return Err(too_large(BYTES_MAX));
        }
        let is_end = begins_with(&line, PEM_END);
        section.push(line);
        if is_end {
            let lines: Vec<_> = section.iter().map(Secret::expose).collect();
            return Ok(Secret::new(lines.join(&b'\n')));
        }
    }
}

/// Reads a whole file.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<Secret, Failure> {
    let path = path.as_ref();
    let contents = File::open(path).and_then(|file| all(file, BYTES_MAX));
    contents.map_err(|error| cannot_read(path, error))
}

/// Reads a whole input, which must not be longer than `bytes_max`.
pub(crate) fn all(reader: impl Read, bytes_max: usize) -> io::Result<Secret> {
    // With enough capacity: a buffer that grows leaves copies in memory.
    let mut bytes = Vec::with_capacity(bytes_max + 1);
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes)?;
    let contents = Secret::new(bytes);
    if contents.expose().len() > bytes_max {
        return Err(too_large(bytes_max));
    }
    Ok(contents)
}

fn too_large(bytes_max: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {bytes_max} bytes"))
}

/// Makes the failure for a file that cannot be read.
pub(crate) fn cannot_read(
    path: impl AsRef<Path>,
    error: impl Error + Send + Sync + 'static,
) -> Failure {
    Failure::new(error).context(format!("cannot read '{}'", path.as_ref().display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn a_section_is_read_to_its_end_and_no_further() {
        for (typed, taken) in [
            (&["kes:v1:A", "ls"][..], 1),
            (&["", "ls"], 1),
            (&["-----BEGIN X-----", "AA==", "", "-----END X-----", "ls"], 4),
            (&[" -----BEGIN X-----", "  -----END Y-----", "ls"], 2),
        ] {
            let mut rest = typed[1..].iter();
            let next = || rest.next().map(|line| secret(line)).ok_or_else(|| panic!("{typed:?}"));
            let read = lines(secret(typed[0]), next).unwrap();
            assert_eq!(read.expose(), typed[..taken].join("\n").as_bytes());
        }
        let endless = lines(secret("-----BEGIN X-----"), || Ok(secret("AA==")));
        assert_eq!(endless.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        let ended = lines(secret("-----BEGIN X-----"), || Err(io::ErrorKind::UnexpectedEof.into()));
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
