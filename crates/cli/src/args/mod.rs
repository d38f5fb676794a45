//! The arguments of the command line.

mod identity;

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use kes_types::wire::Base64;
use kes_types::{KeyName, ListPattern, Secret};

use crate::examples;

pub(crate) use identity::{IdentityArgs, IdentityCommand, KeyEncryption, NewIdentityArgs};

/// A key server: generates, encrypts and decrypts data keys with master keys that never leave it.
#[derive(Debug, Parser)]
#[command(
    name = "kes",
    version = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("KES_COMMIT"), ")"),
    arg_required_else_help = true,
    disable_version_flag = true,
    after_help = examples::KES
)]
pub(crate) struct Args {
    /// Print the version
    #[arg(short = 'v', long, short_alias = 'V', action = ArgAction::Version)]
    version: Option<bool>,
    /// When to use colours: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(crate) color: Color,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The use of colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands of `kes`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a key server
    #[command(after_help = examples::SERVER)]
    Server(ServerArgs),
    /// Manage and use keys
    #[command(subcommand, arg_required_else_help = true, after_help = examples::KEY)]
    Key(KeyCommand),
    /// Create identities, or print the identity of an API key or a certificate
    #[command(after_help = examples::IDENTITY)]
    Identity(IdentityArgs),
    /// Show the status of a server
    #[command(after_help = examples::STATUS)]
    Status(StatusArgs),
    /// A command of KES, which is refused.
    #[command(hide = true, disable_help_flag = true)]
    Update(RefusedArgs),
    /// A command of KES, which is refused.
    #[command(hide = true, disable_help_flag = true)]
    Migrate(RefusedArgs),
}

/// The arguments of a command that is refused, which are ignored.
#[derive(Debug, clap::Args)]
pub(crate) struct RefusedArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<Secret>,
}

/// The arguments of `kes server`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "kes server --config <FILE> [--addr <[IP]:PORT>]\n       \
                      kes server --dev [--addr <[IP]:PORT>]")]
pub(crate) struct ServerArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", conflicts_with = "dev", required_unless_present = "dev")]
    pub(crate) config: Option<PathBuf>,
    /// Run a development server: keys in memory, a new certificate and a new admin; listens on
    /// 127.0.0.1:7373, which other machines cannot reach
    #[arg(long)]
    pub(crate) dev: bool,
    /// The address to listen on, instead of that of the configuration; without an IP on every interface
    #[arg(long, value_name = "[IP]:PORT")]
    pub(crate) addr: Option<String>,
    /// A flag of older releases; replaced by `tls.auth` of the configuration.
    #[arg(long, hide = true)]
    auth: Option<String>,
    /// A flag of older releases; replaced by `tls.key` of the configuration.
    #[arg(long, hide = true)]
    key: Option<PathBuf>,
    /// A flag of older releases; replaced by `tls.cert` of the configuration.
    #[arg(long, hide = true)]
    cert: Option<PathBuf>,
    /// A flag of older releases; memory is locked wherever the system permits.
    #[arg(long, hide = true)]
    mlock: bool,
}

impl ServerArgs {
    /// Returns the given flags that have no effect, each with its replacement.
    pub(crate) fn ignored(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        [
            (self.auth.is_some(), "--auth", "set 'tls.auth' in the configuration"),
            (self.key.is_some(), "--key", "set 'tls.key' in the configuration"),
            (self.cert.is_some(), "--cert", "set 'tls.cert' in the configuration"),
            (self.mlock, "--mlock", "memory is locked wherever the system permits"),
        ]
        .into_iter()
        .filter_map(|(is_given, flag, instead)| is_given.then_some((flag, instead)))
    }
}

/// The arguments for the caller's credentials and the trusted servers.
#[derive(Debug, clap::Args)]
pub(crate) struct Access {
    /// The API key; other users can see it in the list of processes. The default is the value of
    /// `MINIO_KES_API_KEY`, or the content of the file that `MINIO_KES_API_KEY_FILE` names
    #[arg(short, long, value_name = "KEY")]
    pub(crate) api_key: Option<Secret>,
    /// Do not verify the server's certificate
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// A flag of older releases; there are no enclaves.
    #[arg(short, long, hide = true)]
    enclave: Option<String>,
}

/// The arguments of commands that call a server.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientArgs {
    /// The server, or several separated by commas; the default is `MINIO_KES_SERVER`
    #[arg(short, long, value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// The caller's credentials and the trusted servers.
    #[command(flatten)]
    pub(crate) access: Access,
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// The commands of `kes key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Create keys
    #[command(after_help = examples::KEY_CREATE)]
    Create {
        /// The names of the keys
        #[arg(required = true, value_name = "NAME")]
        names: Vec<KeyName>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Generate a data key, in plaintext and encrypted
    #[command(after_help = examples::KEY_DEK)]
    Dek {
        /// The name of the key that encrypts the data key
        name: KeyName,
        /// The context that the data key is bound to, in base64
        #[arg(value_parser = base64, default_value = "", hide_default_value = true)]
        context: Base64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Decrypt a ciphertext
    #[command(after_help = examples::KEY_DECRYPT)]
    Decrypt {
        /// The name of the key that encrypted it
        name: KeyName,
        /// The ciphertext, in base64
        #[arg(value_parser = base64)]
        ciphertext: Base64,
        /// The context that the ciphertext is bound to, in base64
        #[arg(value_parser = base64, default_value = "", hide_default_value = true)]
        context: Base64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the names of keys
    #[command(after_help = examples::KEY_LS)]
    Ls {
        /// The prefix of the names; may end in '*'
        #[arg(value_parser = ListPattern::parse, default_value = "", hide_default_value = true)]
        pattern: ListPattern,
        /// Leave out the line 'Key' above the names
        #[arg(long)]
        no_header: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// The arguments of `kes status`; there is no `-s` for the server, because it means `--short` in KES.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The server, or several separated by commas; the default is `MINIO_KES_SERVER`
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: Option<String>,
    /// Show one line for each server
    #[arg(short, long)]
    pub(crate) short: bool,
    /// Also show the routes of the API
    #[arg(long)]
    pub(crate) api: bool,
    /// The caller's credentials and the trusted servers.
    #[command(flatten)]
    pub(crate) access: Access,
    /// Write JSON: an object, or with several servers a list of them
    #[arg(long)]
    pub(crate) json: bool,
}

/// Parses standard base64 with padding.
fn base64(text: &str) -> Result<Base64, &'static str> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    bytes.map(Base64).map_err(|_| "not standard base64 with padding")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn server(arguments: &[&str]) -> Result<ServerArgs, clap::error::ErrorKind> {
        match Args::try_parse_from(["kes", "server"].iter().chain(arguments)) {
            Ok(Args { command: Command::Server(args), .. }) => Ok(args),
            Ok(args) => panic!("{args:?}"),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn the_definition_has_no_contradictions() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_of_older_releases_are_accepted_in_both_spellings() {
        for auth in [&["--auth=off"][..], &["--auth", "off"]] {
            let args = server(&[&["--config=a.yml"], auth].concat()).unwrap();
            assert_eq!(args.config.as_deref(), Some("a.yml".as_ref()));
            let ignored: Vec<_> = args.ignored().map(|(flag, _)| flag).collect();
            assert_eq!(ignored, ["--auth"]);
        }
        let args = server(&["--dev", "--mlock", "--key", "k", "--cert=c", "--addr", ":0"]).unwrap();
        let ignored: Vec<_> = args.ignored().map(|(flag, _)| flag).collect();
        assert_eq!(ignored, ["--key", "--cert", "--mlock"]);
        assert_eq!(args.addr.as_deref(), Some(":0"));
        assert_eq!(server(&["--dev"]).unwrap().ignored().count(), 0);
    }

    #[test]
    fn a_server_has_either_a_configuration_or_none() {
        use clap::error::ErrorKind;
        assert_eq!(server(&[]).unwrap_err(), ErrorKind::MissingRequiredArgument);
        assert_eq!(server(&["--dev", "--config", "a"]).unwrap_err(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn debug_shows_no_secrets() {
        let args = Args::try_parse_from(["kes", "status", "-a", "kes:v1:secret"]).unwrap();
        assert!(!format!("{args:?}").contains("v1"));
    }
}
