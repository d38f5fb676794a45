//! Passwords of private keys: from a file, the environment or the terminal.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use kes_config::Environment;
use kes_types::Secret;

use crate::exit::Failure;
use crate::input;
use crate::output::Output;
use crate::variable;

/// The variable with the password, which `MinIO` reads too.
pub(crate) const VARIABLE: &str = "MINIO_KMS_KES_KEY_PASSWORD";

/// The maximum length of a password in a file, in bytes.
const LEN_MAX: usize = 4096;

/// The permissions of other users to read a file.
const OTHERS_READ: u32 = 0o044;

/// Asks for a password without showing it.
pub(crate) fn ask(prompt: &str) -> Result<Secret, Failure> {
    input::ask(prompt)
        .map_err(|error| Failure::new(error).context("cannot ask for a password on the terminal"))
}

/// Returns the password for a new key: of the file, otherwise of the environment, otherwise typed twice on
/// the terminal.
pub(crate) fn of_new(
    file: Option<&Path>,
    environment: &dyn Environment,
    output: &Output,
) -> Result<Secret, Failure> {
    if let Some(path) = file {
        let about = |failure: Failure| failure.context(format!("'{}'", path.display()));
        return of_file(path, output).map_err(about);
    }
    match of_environment(environment)? {
        Some(password) => Ok(password),
        None => ask_new("Password of the private key: "),
    }
}

/// Returns the password of the environment, if it is set and not empty.
pub(crate) fn of_environment(environment: &dyn Environment) -> Result<Option<Secret>, Failure> {
    Ok(variable::value(VARIABLE, environment)?.map(Secret::from))
}

/// Returns the contents of a file without the last line break.
fn of_file(path: &Path, output: &Output) -> Result<Secret, Failure> {
    let open = || -> io::Result<_> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let is_open_to_others = metadata.is_file() && metadata.mode() & OTHERS_READ != 0;
        Ok((input::all(file, LEN_MAX)?, is_open_to_others))
    };
    let (contents, is_open_to_others) = open().map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => {
            Failure::message(format!("a password has {LEN_MAX} bytes at most"))
        }
        _ => Failure::new(error),
    })?;
    if is_open_to_others {
        output.warn(&format!(
            "other users can read the password in '{0}': restrict it with 'chmod 600'",
            path.display()
        ));
    }
    let contents = contents.expose();
    let line = contents.strip_suffix(b"\n").unwrap_or(contents);
    let password = line.strip_suffix(b"\r").filter(|_| line != contents).unwrap_or(line);
    not_empty(Secret::new(password.to_vec()))
}

/// Asks for a new password, twice.
fn ask_new(prompt: &str) -> Result<Secret, Failure> {
    let hint = |failure: Failure| {
        failure.hint(format!("a script gives the password with --password-file or in {VARIABLE}"))
    };
    let password = not_empty(ask(prompt).map_err(hint)?)?;
    if ask("The same again: ")? != password {
        return Err(Failure::message("the passwords differ"));
    }
    Ok(password)
}

fn not_empty(password: Secret) -> Result<Secret, Failure> {
    if password.expose().is_empty() {
        return Err(Failure::message("the password is empty"));
    }
    Ok(password)
}
