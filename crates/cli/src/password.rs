//! Passwords, asked for on the terminal.

use kes_types::Secret;

use crate::exit::Failure;

/// Asks for a password without showing it.
pub(crate) fn ask(prompt: &str) -> Result<Secret, Failure> {
    rpassword::prompt_password(prompt)
        .map(Secret::from)
        .map_err(|error| Failure::new(error).context("cannot ask for a password on the terminal"))
}

/// Asks for a new password, twice.
pub(crate) fn ask_new(prompt: &str) -> Result<Secret, Failure> {
    let password = ask(prompt)?;
    if password.expose().is_empty() {
        return Err(Failure::message("the password is empty"));
    }
    if ask("The same again: ")? != password {
        return Err(Failure::message("the passwords differ"));
    }
    Ok(password)
}
