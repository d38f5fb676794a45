//! Errors about arguments, without text that may be a secret.

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::output::printable;

/// The maximum length of an argument that a message repeats, in characters; shorter than any API key.
const REPEATED_LEN_MAX: usize = 40;

/// Flags whose value is a secret, or may be a password by mistake.
const SECRET_FLAGS: [&str; 2] = ["--api-key", "--encrypt"];

/// Removes arguments that may be secrets from an error.
///
/// These are arguments in the place of a command, superfluous ones, values of some flags, and long ones. The
/// nearest command, flag or value is still suggested.
pub(crate) fn without_secrets(mut error: Error) -> Error {
    // Suggestions how to pass the argument as a value contain the argument.
    error.remove(ContextKind::Suggested);
    // For this kind it is the command whose subcommand is missing.
    if error.kind() != ErrorKind::MissingSubcommand {
        // The word may be a password.
        error.remove(ContextKind::InvalidSubcommand);
    }
    let argument = string(&error, ContextKind::InvalidArg);
    if error.kind() == ErrorKind::UnknownArgument {
        error.remove(ContextKind::InvalidArg);
        if let Some(flag) = argument.as_ref().filter(|argument| argument.starts_with('-')) {
            let repeated = repeated(flag, false);
            error.insert(ContextKind::InvalidArg, ContextValue::String(repeated));
        }
    }
    if let Some(value) = string(&error, ContextKind::InvalidValue) {
        let flag = argument.unwrap_or_default();
        let is_secret = SECRET_FLAGS.iter().any(|secret| flag.starts_with(secret));
        let repeated = repeated(&value, is_secret);
        error.insert(ContextKind::InvalidValue, ContextValue::String(repeated));
    }
    error
}

/// Formats an argument for a message.
fn repeated(argument: &str, is_secret: bool) -> String {
    let len = argument.chars().count();
    if is_secret || len > REPEATED_LEN_MAX {
        format!("<{len} characters>")
    } else {
        printable(argument)
    }
}

fn string(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    fn message(arguments: &[&str]) -> String {
        let parsed = Args::try_parse_from(["kes"].iter().chain(arguments));
        without_secrets(parsed.unwrap_err()).to_string()
    }

    #[test]
    fn arguments_in_the_place_of_a_command_and_superfluous_ones_are_not_repeated() {
        for arguments in [
            &["hunter2"][..],
            &["--color", "never", "hunter2"],
            &["key", "hunter2"],
            &["help", "hunter2"],
            &["help", "key", "hunter2"],
            &["server", "--dev", "hunter2"],
            &["key", "ls", "my-", "hunter2"],
            &["status", "hunter2"],
            &["identity", "of", "a.crt", "hunter2"],
            &["identity", "new", "minio", "hunter2"],
            &["identity", "a.crt", "hunter2"],
            &["identity", "new", "--key=k", "--cert=c", "--encrypt=hunter2"],
        ] {
            let message = message(arguments);
            assert!(!message.contains("hunter2"), "{arguments:?}: {message}");
            assert!(message.starts_with("error: "), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn the_nearest_word_is_suggested() {
        for (arguments, nearest) in [
            (&["staus"][..], "'status'"),
            (&["key", "creat"], "'create'"),
            (&["key", "ls", "--no-heade"], "'--no-header'"),
            (&["identity", "new", "--encrypt=pkcs"], "'pkcs8'"),
        ] {
            let message = message(arguments);
            assert!(message.contains("similar") && message.contains(nearest), "{message}");
        }
    }

    #[test]
    fn long_arguments_and_control_characters_are_not_repeated() {
        let long = "0123456789".repeat(5);
        for arguments in [&["key", "ls", &format!("--{long}")][..], &["key", "dek", "k", &long]] {
            let message = message(arguments);
            assert!(!message.contains("0123") && message.contains(" characters>"), "{message}");
        }
        let message = message(&["key", "create", "a\x1b[2J"]);
        assert!(!message.contains('\x1b'), "{message}");
    }
}
