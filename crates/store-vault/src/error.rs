//! Defines the errors of calls to Vault.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kes_outbound::Failure;
use kes_store::{StoreError, VALUE_LEN_MAX, on_a_line};
use kes_tls::ClientTlsError;

use crate::http::request::RequestTarget;

/// Why a call to Vault failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// No complete response was received.
    #[error("no answer to {0}")]
    Transport(RequestTarget, #[source] Failure),
    /// The operation timed out.
    #[error("no answer to {target} within {} s", .within.as_secs())]
    TimedOut { target: RequestTarget, within: Duration },
    /// The response is longer than any valid response of Vault.
    #[error("the answer to {target} is longer than {bytes_max} bytes")]
    TooLong { target: RequestTarget, bytes_max: usize },
    /// Vault is sealed: it has no key to decrypt its storage.
    #[error("Vault is sealed")]
    Sealed,
    /// Vault was never initialised.
    #[error("Vault is not initialised")]
    NotInitialised,
    /// The node is a replication secondary that serves no clients.
    #[error("this Vault node is a secondary for disaster recovery and answers no requests")]
    DisasterRecoverySecondary,
    /// Vault reported a temporary failure.
    #[error("{target} was answered with HTTP {status}: {}", words(.errors))]
    Unavailable {
        target: RequestTarget,
        status: u16,
        errors: Vec<String>,
        retry_after: Option<Duration>,
    },
    /// A proxy or load balancer responded instead of Vault.
    #[error("{target} was answered with HTTP {status} by something that is not Vault")]
    Foreign { target: RequestTarget, status: u16 },
    /// The token was replaced during a request that must not be sent twice.
    #[error("{0} was not accepted with a token that is being replaced")]
    TokenReplaced(RequestTarget),
    /// No valid token is available.
    #[error("there is no valid token for Vault")]
    NoToken(#[source] Arc<Self>),
    /// A login or renewal in progress takes too long.
    #[error("the login to Vault is not done within {} s", .within.as_secs())]
    LoginPending { within: Duration },

    /// A standby names no active node to which requests may be sent.
    #[error("the Vault node is a standby and names no active node to ask: '{0}'")]
    NoActiveNode(String),
    /// A standby redirected to a host that is not a node of this Vault.
    #[error(
        "{target} was redirected to {location}, which is neither Vault's endpoint nor its active \
         node (api_addr of that node)"
    )]
    Redirected { target: RequestTarget, location: String },
    /// Vault refused the login.
    #[error("Vault refused {target} with HTTP {status}: {}", words(.errors))]
    LoginRefused { target: RequestTarget, status: u16, errors: Vec<String> },
    /// The token of the service account cannot be read.
    #[error("cannot read the service account's token '{}'", .0.display())]
    Jwt(PathBuf, #[source] std::io::Error),
    /// The token of the service account is invalid.
    #[error("the service account's token '{}' is empty, too long or not a text", .0.display())]
    JwtMalformed(PathBuf),
    /// The token is valid, and its policies do not allow the request.
    #[error("permission denied on {path}: {role} policy lacks '{capability}'")]
    Denied { path: String, role: &'static str, capability: &'static str },
    /// The token is valid, and encryption is denied: a capability is missing, or the transit key
    /// does not exist. In the second case Vault requires another capability, because it would
    /// create the transit key.
    #[error(
        "permission denied on {path}: {role} policy lacks 'update', or there is no transit key \
         '{key}'"
    )]
    EncryptDenied { path: String, role: &'static str, key: String },
    /// No engine is mounted at the configured path.
    #[error("engine '{0}' is not mounted")]
    NotMounted(String),
    /// Another type of engine is mounted at the configured path.
    #[error("engine '{engine}' is of type '{found}'; a K/V engine is wanted")]
    NotKv { engine: String, found: String },
    /// The path of the mount is shorter than the configured one.
    #[error(
        "engine '{engine}' is a folder of the mount '{mount}'; set engine to '{mount}' and put the \
         rest in front of prefix"
    )]
    InsideMount { engine: String, mount: String },
    /// The engine has another version than the configured one.
    #[error("{engine} is version {found} but version: v{configured} is configured")]
    OtherVersion { engine: String, found: u8, configured: u8 },
    /// Vault deletes entries automatically.
    #[error(
        "{path} has delete_version_after={after}: Vault would erase keys by itself; set it to 0s"
    )]
    Erasing { path: String, after: String },
    /// Vault will delete the entry that was just written.
    #[error(
        "{path} was written, but Vault will erase it at {at} (delete_version_after); set \
         delete_version_after to 0s for the engine and this entry, then delete the entry"
    )]
    Ephemeral { path: String, at: String },
    /// Vault would have deleted the entry, so it was removed again.
    #[error(
        "{path} was written and removed again: Vault would have erased it at {at}; set \
         delete_version_after to 0s for the engine and this entry"
    )]
    TakenBack { path: String, at: String },
    /// The version that holds the key was deleted, and can be restored.
    #[error(
        "version 1 of {path} was deleted at {at}: undelete it to have the key back, or destroy and \
         delete its metadata to give the name free"
    )]
    SoftDeleted { path: String, at: String },
    /// The version that holds the key was destroyed.
    #[error(
        "version 1 of {path} was destroyed: the key is lost unless there is a backup; delete its \
         metadata to give the name free"
    )]
    Destroyed { path: String },
    /// The entry has versions, and the first one was pruned.
    #[error(
        "{path} has no version 1 any more (max_versions pruned it, or it was removed): the key is \
         lost unless there is a backup; delete its metadata to give the name free"
    )]
    Pruned { path: String },
    /// The entry has metadata, and no versions.
    #[error(
        "{path} has metadata but never had a version: delete its metadata to give the name free"
    )]
    Bare { path: String },
    /// Another writer changed the entry while it was being created.
    #[error("{path} was changed while it was being created")]
    Vanished { path: String },
    /// The entry exists, but contains no key.
    #[error("the entry {path} is not a key: {problem}")]
    Malformed { path: String, problem: String },
    /// The value was encrypted by transit, which is not configured.
    #[error(
        "the entry {path} is encrypted by Vault's transit engine, but keystore.vault.transit is not \
         configured"
    )]
    TransitMissing { path: String },
    /// The value is longer than the maximum length of a key.
    #[error("the value is longer than {VALUE_LEN_MAX} bytes")]
    TooLarge,
    /// The value cannot be stored as text.
    #[error("the value is not a text that Vault can keep")]
    NotText,
    /// The value looks like a ciphertext of transit, and would be mistaken for one.
    #[error("the value starts with 'vault:v', the head of what Vault's transit engine makes")]
    LooksSealed,
    /// Transit did not decrypt a value to its plaintext.
    #[error("transit key '{0}' does not give back what it encrypted")]
    TransitUnsound(String),
    /// An unexpected response.
    #[error("{target} was answered with HTTP {status}: {}", words(.errors))]
    Unexpected { target: RequestTarget, status: u16, errors: Vec<String> },
    /// A response that does not match the documentation of Vault.
    #[error("the answer to {target} cannot be understood")]
    NotUnderstood {
        target: RequestTarget,
        #[source]
        source: Option<serde_json::Error>,
    },
    /// The request cannot be built.
    #[error("a request to Vault cannot be built")]
    Request(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// The wait before a rate-limited write is tried again, if Vault sent no `Retry-After`.
const UNDONE_WAIT: Duration = Duration::from_millis(500);

impl VaultError {
    /// Returns whether waiting can help: Vault did not respond, or reported a temporary failure.
    /// Other errors are definite, or need an operator.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Transport(..)
            | Self::TimedOut { .. }
            | Self::Sealed
            | Self::NotInitialised
            | Self::DisasterRecoverySecondary
            | Self::Unavailable { .. }
            | Self::Foreign { .. }
            | Self::TokenReplaced(_)
            | Self::Redirected { .. }
            | Self::NoActiveNode(_)
            | Self::NotUnderstood { .. }
            | Self::Jwt(..)
            | Self::JwtMalformed(_)
            | Self::LoginPending { .. } => true,
            Self::NoToken(cause) => cause.is_transient(),
            _ => false,
        }
    }

    /// Returns whether the error prevents the start of a server, because an operator has to correct
    /// something.
    pub(crate) fn is_misconfiguration(&self) -> bool {
        !self.is_transient() || matches!(self, Self::Jwt(..) | Self::JwtMalformed(_))
    }

    /// Returns how long Vault requested to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns how long to wait before the check and the request are repeated, if Vault reported
    /// that the request had no effect.
    pub(crate) fn undone_until(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { status: 412 | 429, retry_after, .. } => {
                Some(retry_after.unwrap_or(UNDONE_WAIT))
            }
            Self::TokenReplaced(_) => Some(Duration::ZERO),
            _ => None,
        }
    }
}

impl From<VaultError> for StoreError {
    fn from(error: VaultError) -> Self {
        Self::of(error.is_transient(), error)
    }
}

/// Why a Vault store cannot be opened. A retry does not help.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configured certificates cannot be used for TLS.
    #[error("keystore.vault.tls cannot be used")]
    Tls(#[source] ClientTlsError),
    /// The HTTP client cannot be created.
    #[error("no HTTP client for Vault can be made")]
    Client(#[source] reqwest::Error),
    /// Vault refused the login.
    #[error("cannot log in to Vault: check {fields}")]
    Login {
        /// The configuration fields to check.
        fields: &'static str,
        /// The error of Vault.
        #[source]
        source: kes_store::BoxError,
    },
    /// The engine does not match the settings, or would delete keys.
    #[error("Vault's engine does not fit keystore.vault")]
    Engine(#[source] kes_store::BoxError),
}

/// The maximum length of a text of Vault in an error, in bytes.
const WORDS_LEN_MAX: usize = 512;

/// Joins the errors of Vault to one line.
fn words(errors: &[String]) -> String {
    let words = errors.iter().flat_map(|error| error.split_whitespace());
    let text = on_a_line(words, WORDS_LEN_MAX);
    if text.is_empty() { "no reason given".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vault_s_words_fit_on_a_line() {
        let errors = ["1 error occurred:\n\t* permission denied\n\n".to_owned(), "x".repeat(600)];
        assert_eq!(words(&errors), "1 error occurred: * permission denied …");
        assert_eq!(words(&[]), "no reason given");
    }

    #[test]
    fn what_a_person_must_mend_is_refused_and_what_passes_is_unreachable() {
        assert!(matches!(StoreError::from(VaultError::Sealed), StoreError::Unreachable(_)));
        let no_token = VaultError::NoToken(Arc::new(VaultError::Sealed));
        assert!(matches!(StoreError::from(no_token), StoreError::Unreachable(_)));
        let not_mounted = || VaultError::NotMounted("kv".to_owned());
        assert!(matches!(StoreError::from(not_mounted()), StoreError::Refused(_)));
        let no_token = VaultError::NoToken(Arc::new(not_mounted()));
        assert!(matches!(StoreError::from(no_token), StoreError::Refused(_)));
    }
}
