//! Examples at the end of the help of each command.

pub(crate) const KES: &str = "\
Examples:
  kes server --dev
  kes server --config config.yaml
  kes help key create";

pub(crate) const SERVER: &str = "\
Examples:
  kes server --dev
  kes server --config /etc/kes/config.yaml
  kes server --config config.yaml --addr 127.0.0.1:7373";

pub(crate) const KEY: &str = "\
Examples:
  kes key create my-key
  kes key ls
  kes key dek my-key";

pub(crate) const KEY_CREATE: &str = "\
Examples:
  kes key create my-key
  kes key create my-key-1 my-key-2 --server https://kes.example.com:7373";

pub(crate) const KEY_DEK: &str = "\
Examples:
  kes key dek my-key
  kes key dek my-key bXktYnVja2V0L215LW9iamVjdA==
  kes key dek my-key | jq -r .ciphertext";

pub(crate) const KEY_DECRYPT: &str = "\
Examples:
  kes key decrypt my-key \"$CIPHERTEXT\"
  kes key decrypt my-key \"$CIPHERTEXT\" bXktYnVja2V0L215LW9iamVjdA==
  kes key decrypt my-key \"$CIPHERTEXT\" | jq -r .plaintext | base64 -d";

pub(crate) const KEY_LS: &str = "\
Examples:
  kes key ls
  kes key ls 'my-*' --no-header
  kes key ls --json | jq -r '.[]'";

pub(crate) const IDENTITY: &str = "\
Examples:
  kes identity new
  kes identity new --key minio.key --cert minio.crt minio
  kes identity of -";

pub(crate) const IDENTITY_NEW: &str = "\
Examples:
  kes identity new
  kes identity new --key server.key --cert server.crt --ip 127.0.0.1 --dns localhost
  kes identity new --key minio.key --cert minio.crt --expiry 8760h --encrypt minio";

pub(crate) const IDENTITY_OF: &str = "\
Examples:
  kes identity of minio.crt
  kes identity of -
  printenv MINIO_KES_API_KEY | kes identity of -";

pub(crate) const STATUS: &str = "\
Examples:
  kes status
  kes status --server https://kes.example.com:7373
  kes status --json | jq .version";

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _, Parser as _};

    use crate::args::Args;

    /// Splits the `kes` command of a line into words, as a shell does.
    fn words(line: &str) -> Option<Vec<String>> {
        let ours = line.split(" | ").map(str::trim).find(|part| part.starts_with("kes "))?;
        let ours = ours.split(" < ").next()?;
        assert!(!ours.contains('\\'), "{line}");
        let words = ours.split(' ').map(|word| word.trim_matches(['"', '\'']));
        Some(words.map(|word| word.replace("$CIPHERTEXT", "Y2lwaGVydGV4dA==")).collect())
    }

    fn check(command: &Command, path: &[&str]) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let mut lines = help.lines();
        assert_eq!(lines.next(), Some("Examples:"), "{path:?}");
        let examples: Vec<_> = lines.map(|line| words(line).expect(line)).collect();
        assert!((2..=3).contains(&examples.len()), "{path:?}: {help}");
        for example in examples {
            assert!(example.iter().zip(path).all(|(word, name)| word == name), "{example:?}");
            if let Err(error) = Args::try_parse_from(&example)
                && error.exit_code() != 0
            {
                panic!("{example:?}: {error}");
            }
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            check(inner, &[path, &[inner.get_name()]].concat());
        }
    }

    #[test]
    fn the_help_of_every_command_ends_with_examples_that_are_true() {
        check(&Args::command(), &["kes"]);
    }

    #[test]
    fn examples_are_split_as_a_shell_does() {
        let words = |line| words(line).map(|words| words.join("|"));
        assert_eq!(words("  kes key ls 'a*' | kes").as_deref(), Some("kes|key|ls|a*"));
        assert_eq!(
            words("printenv A | kes identity of - < b").as_deref(),
            Some("kes|identity|of|-")
        );
        assert_eq!(words("Examples:"), None);
    }
}
