//! The arguments of `kes identity`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use kes_crypto::{InvalidDnsName, check_dns_name};
use kes_types::Secret;

use crate::examples;
use crate::mask;

/// The arguments of `kes identity`: a command, or the argument of `kes identity of`.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    subcommand_negates_reqs = true,
    override_usage = "kes identity <COMMAND>\n       kes identity [--json] <API-KEY|CERTIFICATE>"
)]
pub(crate) struct IdentityArgs {
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Option<IdentityCommand>,
    /// Without a command: the argument of 'kes identity of'
    #[arg(value_name = "API-KEY|CERTIFICATE", required = true)]
    pub(crate) credential: Option<Secret>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The commands of `kes identity`.
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Create an API key, or with --key and --cert a private key and its certificate
    #[command(after_help = examples::IDENTITY_NEW)]
    New(NewIdentityArgs),
    /// Print the identity of an API key or a certificate file
    #[command(after_help = examples::IDENTITY_OF)]
    Of {
        /// An API key, or the path of a certificate in PEM; '-' reads either from standard input, or asks
        /// for it. Other users can see an API key that is given here in the list of processes
        #[arg(value_name = "API-KEY|CERTIFICATE")]
        credential: Secret,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
}

/// The arguments of `kes identity new`.
#[derive(Debug, clap::Args)]
pub(crate) struct NewIdentityArgs {
    /// The file to write the private key to
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// The file to write the certificate to
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// An IP address that the certificate is valid for; repeatable
    #[arg(long, value_name = "IP")]
    pub(crate) ip: Vec<IpAddr>,
    /// A host name that the certificate is valid for; repeatable
    #[arg(long, value_name = "NAME", value_parser = dns_name)]
    pub(crate) dns: Vec<String>,
    /// How long the certificate is valid
    #[arg(long, value_parser = validity, default_value = "720h", value_name = "DURATION")]
    pub(crate) expiry: Duration,
    /// The format of the encrypted private key.
    #[arg(
        long,
        requires = "key",
        value_name = "FORM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "legacy",
        hide_possible_values = true,
        help = "Encrypt the private key with a password. 'legacy' (the default FORM): PEM headers, \
                which MinIO, KES and all versions of OpenSSL read; weak, so use a long random \
                password. 'pkcs8': PKCS#8 with PBES2, which this program and OpenSSL read, but \
                MinIO and KES do not"
    )]
    pub(crate) encrypt: Option<KeyEncryption>,
    /// The file with the password; its last line break is ignored. The default is the value of
    /// `MINIO_KMS_KES_KEY_PASSWORD`; without it, the command asks on the terminal
    #[arg(long, value_name = "FILE", requires = "encrypt")]
    pub(crate) password_file: Option<PathBuf>,
    /// Replace files that exist
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Use this API key instead of a new one; '-' reads it from standard input, or asks for it. Other
    /// users can see an API key that is given here in the list of processes
    #[arg(long, value_name = "KEY")]
    pub(crate) api_key: Option<Secret>,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The common name in the certificate; the default is the identity
    #[arg(value_parser = subject)]
    pub(crate) subject: Option<String>,
}

/// The format of an encrypted private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyEncryption {
    /// PEM with `Proc-Type: 4,ENCRYPTED`.
    #[value(alias = "true")]
    Legacy,
    /// PKCS#8 with PBES2.
    Pkcs8,
}

/// Parses a Go duration of at least one second.
fn validity(text: &str) -> Result<Duration, &'static str> {
    match kes_config::parse_duration(text) {
        Some(duration) if duration >= Duration::from_secs(1) => Ok(duration),
        Some(_) => Err("a certificate is valid for a second at least"),
        None => Err("not a duration like '720h' or '1h30m'"),
    }
}

fn dns_name(text: &str) -> Result<String, InvalidDnsName> {
    check_dns_name(text).map(|()| text.to_owned())
}

/// Checks that a subject, which is public, is not an API key.
fn subject(text: &str) -> Result<String, &'static str> {
    if mask::holds_api_key(text) {
        return Err("an API key is secret, a subject is not; --api-key takes an API key");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn new(arguments: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["kes", "identity", "new"].iter().chain(arguments))
    }

    #[test]
    fn arguments_without_the_ones_that_they_require_are_refused() {
        for arguments in [
            &["--key", "k"][..],
            &["--cert", "c"],
            &["--encrypt"],
            &["--encrypt=pkcs8"],
            &["--key=k", "--cert=c", "--password-file=p"],
        ] {
            new(arguments).unwrap_err();
        }
    }

    #[test]
    fn arguments_of_a_certificate_are_accepted_without_files() {
        for arguments in [&[][..], &["minio"], &["--ip", "::1"], &["--dns=a", "-f", "a b"]] {
            new(arguments).unwrap();
        }
        new(&["--key=k", "--cert=c", "--ip=::1", "--ip=1.2.3.4", "--dns=a", "-f", "a b"]).unwrap();
        new(&["--expiry", "0s"]).unwrap_err();
        new(&["--expiry", "-1h"]).unwrap_err();
    }

    #[test]
    fn names_and_addresses_that_are_not_valid_in_a_certificate_are_refused() {
        for arguments in [
            ["--dns", "a b"],
            ["--dns", ""],
            ["--dns", "*.*"],
            ["--dns", "https://a"],
            ["--ip", "localhost"],
            ["--ip", "1.2.3"],
            ["--ip", "::1/64"],
        ] {
            new(&arguments).unwrap_err();
        }
        new(&["--dns", "*.example.com", "--dns", "localhost"]).unwrap();
    }

    #[test]
    fn the_form_of_an_encrypted_key_needs_an_equals_sign() {
        let form = |argument: &str| match new(&["--key=k", "--cert=c", argument, "minio"])
            .map(|args| args.command)
        {
            Ok(Command::Identity(IdentityArgs {
                command: Some(IdentityCommand::New(args)),
                ..
            })) => (args.encrypt, args.subject),
            other => panic!("{other:?}"),
        };
        let subject = Some("minio".to_owned());
        assert_eq!(form("--encrypt"), (Some(KeyEncryption::Legacy), subject.clone()));
        assert_eq!(form("--encrypt=true"), (Some(KeyEncryption::Legacy), subject.clone()));
        assert_eq!(form("--encrypt=pkcs8"), (Some(KeyEncryption::Pkcs8), subject));
    }
}
