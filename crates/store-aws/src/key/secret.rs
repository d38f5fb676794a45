//! Defines the names, tokens and observed states of secrets.

use std::collections::HashMap;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueOutput;
use aws_sdk_secretsmanager::primitives::DateTime;
use kes_types::{KeyName, Random, RandomFailed, Secret};

use crate::error::AwsError;

/// The maximum length of a secret in bytes (*Secrets Manager quotas*).
pub(crate) const SECRET_LEN_MAX: usize = 65_536;

/// Maps names of keys to names of secrets: `<prefix>/<key>`, or the name of the key alone.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The prefix with a slash at its end; empty without a prefix.
    head: String,
}

impl Names {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { head: if prefix.is_empty() { String::new() } else { format!("{prefix}/") } }
    }

    /// Returns the name of the secret of a key.
    pub(crate) fn secret(&self, key: &KeyName) -> String {
        self.below(key.as_str())
    }

    /// Returns the prefix of all secrets whose keys start with `start`.
    pub(crate) fn below(&self, start: &str) -> String {
        format!("{}{start}", self.head)
    }

    /// Returns the key of a secret, if the name is the name of a secret of a key.
    pub(crate) fn key(&self, secret: &str) -> Option<KeyName> {
        KeyName::parse(secret.strip_prefix(&self.head)?).ok()
    }
}

/// The idempotency token of a creation (`ClientRequestToken`, 32 to 64 characters): AWS executes
/// requests with the same token once. It is unique, and not confidential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreationToken(String);

impl CreationToken {
    pub(crate) fn new(random: &dyn Random) -> Result<Self, RandomFailed> {
        random.identifier::<16>().map(|id| Self(format!("kes-{id}")))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The state of a secret, as reported by `DescribeSecret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The secret does not exist.
    Absent,
    /// The secret exists.
    Present(Found),
    /// The secret is scheduled for deletion, with a recovery window.
    Deleted {
        found: Found,
        /// The date that AWS returns, in seconds of Unix time.
        since: i64,
    },
    /// This server has no permission to describe the secret.
    Denied,
}

/// The metadata of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The ARN. It identifies this secret only: its random suffix differs from that of a later
    /// secret of the same name.
    pub(crate) arn: String,
    /// The number of versions.
    pub(crate) versions: usize,
    pub(crate) kms_key: Option<String>,
}

impl From<DescribeSecretOutput> for Observation {
    fn from(output: DescribeSecretOutput) -> Self {
        let since = output.deleted_date().map(DateTime::secs);
        let found = Found {
            versions: output.version_ids_to_stages().map_or(0, HashMap::len),
            kms_key: output.kms_key_id().map(str::to_owned),
            arn: output.arn.unwrap_or_default(),
        };
        match since {
            Some(since) => Self::Deleted { found, since },
            None => Self::Present(found),
        }
    }
}

/// The current value of a secret.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) arn: String,
    pub(crate) value: Secret,
}

impl Current {
    /// Checks that the response contains a value.
    pub(crate) fn of(output: GetSecretValueOutput, secret: &str) -> Result<Self, AwsError> {
        let value = match (output.secret_string, output.secret_binary) {
            (Some(text), _) => Secret::from(text),
            (None, Some(bytes)) => Secret::new(bytes.into_inner()),
            (None, None) => return Err(AwsError::Empty { secret: secret.to_owned() }),
        };
        Ok(Self { arn: output.arn.unwrap_or_default(), value })
    }
}

#[cfg(test)]
mod tests {
    use kes_crypto::SystemRandom;

    use super::*;

    #[test]
    fn a_prefix_is_a_folder() {
        let (bare, folder) = (Names::new(""), Names::new("team/kes"));
        let key = KeyName::parse("my-key").unwrap();
        assert_eq!(
            (bare.secret(&key), folder.secret(&key)),
            ("my-key".into(), "team/kes/my-key".into())
        );
        assert_eq!(folder.key("team/kes/my-key"), Some(key.clone()));
        assert_eq!(bare.key("my-key"), Some(key));
        for other in ["team/kes2/my-key", "team/kes/x/my-key", "TEAM/KES/my-key", "my-key", ""] {
            assert_eq!(folder.key(other), None, "{other}");
        }
        assert_eq!(bare.key("team/kes/my-key"), None);
    }

    #[test]
    fn a_token_has_the_length_that_aws_wants_and_never_comes_twice() {
        let (one, other) = (
            CreationToken::new(&SystemRandom::new()).unwrap(),
            CreationToken::new(&SystemRandom::new()).unwrap(),
        );
        assert!((32..=64).contains(&one.as_str().len()));
        assert_ne!(one, other);
    }

    #[test]
    fn a_value_is_a_text_or_bytes_and_not_nothing() {
        let output = || GetSecretValueOutput::builder().name("a").version_id("1");
        let text = Current::of(output().secret_string("v").build(), "a");
        assert_eq!(text.unwrap().value.expose(), b"v");
        assert!(matches!(Current::of(output().build(), "a"), Err(AwsError::Empty { .. })));
    }
}
