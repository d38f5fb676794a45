//! What can go wrong between us and Vault.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kes_outbound::Failure;
use kes_store::{StoreError, VALUE_LEN_MAX, on_a_line};
use kes_tls::ClientTlsError;

use crate::http::request::RequestTarget;

/// Why a call to Vault did not bring what was asked of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// No whole answer came back.
    #[error("no answer to {0}")]
    Transport(RequestTarget, #[source] Failure),
    /// The time for the operation is over.
    #[error("no answer to {target} within {} s", .within.as_secs())]
    TimedOut { target: RequestTarget, within: Duration },
    /// The answer is longer than any that Vault has reason to give.
    #[error("the answer to {target} is longer than {bytes_max} bytes")]
    TooLong { target: RequestTarget, bytes_max: usize },
    /// Vault has no keys to decrypt its storage with.
    #[error("Vault is sealed")]
    Sealed,
    /// Vault was never initialised.
    #[error("Vault is not initialised")]
    NotInitialised,
    /// The node takes part in replication, but serves no clients.
    #[error("this Vault node is a secondary for disaster recovery and answers no requests")]
    DisasterRecoverySecondary,
    /// Vault said that it cannot right now.
    #[error("{target} was answered with HTTP {status}: {}", words(.errors))]
    Unavailable {
        target: RequestTarget,
        status: u16,
        errors: Vec<String>,
        retry_after: Option<Duration>,
    },
    /// The answer of something between us and Vault.
    #[error("{target} was answered with HTTP {status} by something that is not Vault")]
    Foreign { target: RequestTarget, status: u16 },
    /// The token was replaced while a request was under way that must not be sent twice.
    #[error("{0} was not accepted with a token that is being replaced")]
    TokenReplaced(RequestTarget),
    /// There is no token to ask with.
    #[error("there is no valid token for Vault")]
    NoToken(#[source] Arc<Self>),
    /// A login or renewal is under way and takes too long.
    #[error("the login to Vault is not done within {} s", .within.as_secs())]
    LoginPending { within: Duration },

    /// A standby names no active node that may be asked.
    #[error("the Vault node is a standby and names no active node to ask: '{0}'")]
    NoActiveNode(String),
    /// A standby sent us to a host that is not Vault's own.
    #[error(
        "{target} was redirected to {location}, which is neither Vault's endpoint nor its active \
         node (api_addr of that node)"
    )]
    Redirected { target: RequestTarget, location: String },
    /// The login was refused.
    #[error("Vault refused {target} with HTTP {status}: {}", words(.errors))]
    LoginRefused { target: RequestTarget, status: u16, errors: Vec<String> },
    /// The service account's token cannot be read.
    #[error("cannot read the service account's token '{}'", .0.display())]
    Jwt(PathBuf, #[source] std::io::Error),
    /// The service account's token is not one.
    #[error("the service account's token '{}' is empty, too long or not a text", .0.display())]
    JwtMalformed(PathBuf),
    /// The token is good, and its policies do not allow it.
    #[error("permission denied on {path}: {role} policy lacks '{capability}'")]
    Denied { path: String, role: &'static str, capability: &'static str },
    /// The token is good, and may not encrypt: for want of a capability, or of the key. To encrypt
    /// with a key that is not there wants another capability, and makes one.
    #[error(
        "permission denied on {path}: {role} policy lacks 'update', or there is no transit key \
         '{key}'"
    )]
    EncryptDenied { path: String, role: &'static str, key: String },
    /// There is nothing mounted under the engine's name.
    #[error("engine '{0}' is not mounted")]
    NotMounted(String),
    /// Something else is mounted under the engine's name.
    #[error("engine '{engine}' is of type '{found}'; a K/V engine is wanted")]
    NotKv { engine: String, found: String },
    /// The mount's name is shorter than the engine's.
    #[error(
        "engine '{engine}' is a folder of the mount '{mount}'; set engine to '{mount}' and put the \
         rest in front of prefix"
    )]
    InsideMount { engine: String, mount: String },
    /// The engine is of the other version.
    #[error("{engine} is version {found} but version: v{configured} is configured")]
    OtherVersion { engine: String, found: u8, configured: u8 },
    /// Vault erases entries by itself.
    #[error(
        "{path} has delete_version_after={after}: Vault would erase keys by itself; set it to 0s"
    )]
    Erasing { path: String, after: String },
    /// The entry that was just written ends by itself.
    #[error(
        "{path} was written, but Vault will erase it at {at} (delete_version_after); set \
         delete_version_after to 0s for the engine and this entry, then delete the entry"
    )]
    Ephemeral { path: String, at: String },
    /// The same, and it was removed again.
    #[error(
        "{path} was written and removed again: Vault would have erased it at {at}; set \
         delete_version_after to 0s for the engine and this entry"
    )]
    TakenBack { path: String, at: String },
    /// The version that holds the key was deleted, and can be had back.
    #[error(
        "version 1 of {path} was deleted at {at}: undelete it to have the key back, or destroy and \
         delete its metadata to give the name free"
    )]
    SoftDeleted { path: String, at: String },
    /// The version that holds the key is gone.
    #[error(
        "version 1 of {path} was destroyed: the key is lost unless there is a backup; delete its \
         metadata to give the name free"
    )]
    Destroyed { path: String },
    /// The entry has versions, but not the first any more.
    #[error(
        "{path} has no version 1 any more (max_versions pruned it, or it was removed): the key is \
         lost unless there is a backup; delete its metadata to give the name free"
    )]
    Pruned { path: String },
    /// The entry has settings, and nothing else.
    #[error(
        "{path} has metadata but never had a version: delete its metadata to give the name free"
    )]
    Bare { path: String },
    /// Something else was written over what we had just written.
    #[error("{path} was changed while it was being created")]
    Vanished { path: String },
    /// The entry is there, but is no key.
    #[error("the entry {path} is not a key: {problem}")]
    Malformed { path: String, problem: String },
    /// The value was sealed by transit, which is not configured.
    #[error(
        "the entry {path} is encrypted by Vault's transit engine, but keystore.vault.transit is not \
         configured"
    )]
    TransitMissing { path: String },
    /// The value is longer than any key.
    #[error("the value is longer than {VALUE_LEN_MAX} bytes")]
    TooLarge,
    /// The value cannot be kept as text.
    #[error("the value is not a text that Vault can keep")]
    NotText,
    /// The value looks like what transit makes, and would be taken for it.
    #[error("the value starts with 'vault:v', the head of what Vault's transit engine makes")]
    LooksSealed,
    /// Transit did not give back what it was given.
    #[error("transit key '{0}' does not give back what it encrypted")]
    TransitUnsound(String),
    /// An answer that fits nothing we know.
    #[error("{target} was answered with HTTP {status}: {}", words(.errors))]
    Unexpected { target: RequestTarget, status: u16, errors: Vec<String> },
    /// An answer that is not what Vault's documentation says.
    #[error("the answer to {target} cannot be understood")]
    NotUnderstood {
        target: RequestTarget,
        #[source]
        source: Option<serde_json::Error>,
    },
    /// A request that cannot be built.
    #[error("a request to Vault cannot be built")]
    Request(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

/// The wait before a write is tried again whose rate was limited without a word of when.
const UNDONE_WAIT: Duration = Duration::from_millis(500);

impl VaultError {
    /// Whether waiting helps: Vault did not answer, or said that it cannot right now. Everything
    /// else is its definite word, or a mistake that a person has to mend.
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

    /// Whether a server must not start with it: an operator has to correct something.
    pub(crate) fn is_misconfiguration(&self) -> bool {
        !self.is_transient() || matches!(self, Self::Jwt(..) | Self::JwtMalformed(_))
    }

    /// How long Vault asked us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// How long to wait before another look and another attempt, where Vault said that it did not
    /// do what it was asked.
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

/// Why a Vault store cannot be opened: none of it becomes right by waiting.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The certificates of the configuration make no TLS client.
    #[error("keystore.vault.tls cannot be used")]
    Tls(#[source] ClientTlsError),
    /// No HTTP client can be made.
    #[error("no HTTP client for Vault can be made")]
    Client(#[source] reqwest::Error),
    /// Vault refused the login.
    #[error("cannot log in to Vault: check {fields}")]
    Login {
        /// The fields of the configuration that matter.
        fields: &'static str,
        /// What Vault said.
        #[source]
        source: kes_store::BoxError,
    },
    /// Vault has not the engine that the settings say, or would lose keys in it.
    #[error("Vault's engine does not fit keystore.vault")]
    Engine(#[source] kes_store::BoxError),
}

/// The longest text of Vault's that goes into an error, in bytes.
const WORDS_LEN_MAX: usize = 512;

/// Vault's own words, on one line.
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
