//! Sends single requests to Secrets Manager.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use aws_sdk_secretsmanager::types::{SecretListEntry, Tag};
use kes_store::Deadline;
use kes_types::{Random, Secret};
use tokio::sync::Semaphore;

use crate::NOTICE;
use crate::auth::session::AwsSession;
use crate::call::AwsCall;
use crate::error::AwsError;
use crate::error::refusal::Refusal;
use crate::error::sanitized::SanitizedError;
use crate::key::secret::{CreationToken, Current, Names, Observation};

/// The part of the ARN of a secret that precedes the name.
const ARN_MARK: &str = ":secret:";

/// The maximum number of concurrent waits before a second check of an absent secret: half of the
/// concurrent calls of a keyring.
const CONFIRMATIONS_MAX: usize = 128;

/// A client of Secrets Manager for the secrets of keys.
#[derive(Debug)]
pub(crate) struct SecretsManager {
    pub(crate) session: Arc<AwsSession>,
    pub(crate) names: Names,
    pub(crate) kms_key: Option<String>,
    tags: Option<Vec<Tag>>,
    /// The random source of idempotency tokens.
    pub(crate) random: Arc<dyn Random>,
    is_look_denied: AtomicBool,
    /// The common prefix of the ARNs of all secrets, known after the first response with an ARN.
    arn_head: OnceLock<String>,
    /// Limits concurrent waits before a second check of an absent secret.
    pub(crate) confirmations: Semaphore,
}

impl SecretsManager {
    pub(crate) fn new(
        session: Arc<AwsSession>,
        names: Names,
        kms_key: Option<String>,
        tags: Option<Vec<Tag>>,
        random: Arc<dyn Random>,
    ) -> Self {
        let confirmations = Semaphore::new(CONFIRMATIONS_MAX);
        let is_look_denied = AtomicBool::new(false);
        let arn_head = OnceLock::new();
        Self { session, names, kms_key, tags, random, is_look_denied, arn_head, confirmations }
    }

    /// Describes a request about a secret, as policies and the log name it.
    fn call(&self, action: &'static str, secret: &str) -> AwsCall {
        let head = self.arn_head.get().map_or("", String::as_str);
        AwsCall::new(action, &format!("{head}{secret}"))
    }

    /// Records the common prefix of ARNs.
    fn note_arn(&self, arn: &str) {
        let end = arn.find(ARN_MARK).filter(|_| arn.starts_with("arn:"));
        let head = end.and_then(|at| arn.get(..at + ARN_MARK.len()));
        if let Some(head) = head.filter(|_| self.arn_head.get().is_none()) {
            // A concurrent request may have recorded the same value first.
            let _ = self.arn_head.set(head.to_owned());
        }
    }

    /// Creates a secret. Further requests with the same token have no effect.
    pub(crate) async fn put(
        &self,
        secret: &str,
        value: &str,
        token: &CreationToken,
        deadline: Deadline,
    ) -> Result<(), AwsError> {
        let send = || {
            let request = self.session.secrets_once.create_secret();
            let request = request.name(secret).secret_string(value);
            let request = request.client_request_token(token.as_str());
            request.set_kms_key_id(self.kms_key.clone()).set_tags(self.tags.clone()).send()
        };
        let call = self.call("secretsmanager:CreateSecret", secret);
        match self.session.ask(&call, deadline, send).await {
            Ok(output) => whole(&call, output.arn()).map(|arn| self.note_arn(arn)),
            Err(mut error) => {
                name_key(&mut error, self.kms_key.as_deref());
                Err(error)
            }
        }
    }

    /// Returns the current value of a secret.
    pub(crate) async fn current(
        &self,
        secret: &str,
        deadline: Deadline,
    ) -> Result<Current, AwsError> {
        let send = || self.session.secrets.get_secret_value().secret_id(secret).send();
        let call = self.call("secretsmanager:GetSecretValue", secret);
        match self.session.ask(&call, deadline, send).await {
            Ok(output) => {
                named(&call, output.name(), secret)?;
                self.note_arn(output.arn().unwrap_or_default());
                self.session.note_read(secret);
                Current::of(output, secret)
            }
            Err(mut error) => {
                if error.refusal().is_some_and(Refusal::is_about_kms) {
                    let key = match self.look(secret, deadline).await {
                        // A secret without a KMS key id is encrypted under the key that AWS
                        // manages.
                        Ok(Observation::Present(found) | Observation::Deleted { found, .. }) => {
                            Some(found.kms_key.unwrap_or_else(|| "aws/secretsmanager".to_owned()))
                        }
                        _ => None,
                    };
                    name_key(&mut error, key.as_deref());
                }
                Err(error)
            }
        }
    }

    /// Returns the state of a secret, without its value.
    pub(crate) async fn look(
        &self,
        secret: &str,
        deadline: Deadline,
    ) -> Result<Observation, AwsError> {
        let send = || self.session.secrets.describe_secret().secret_id(secret).send();
        let call = self.call("secretsmanager:DescribeSecret", secret);
        match self.session.ask(&call, deadline, send).await {
            Ok(output) => {
                self.note_arn(whole(&call, output.arn())?);
                named(&call, output.name(), secret)?;
                Ok(output.into())
            }
            Err(error) if error.has_code(NOT_FOUND) => Ok(Observation::Absent),
            Err(error) if error.refusal().is_some_and(Refusal::is_denial) => {
                if !self.is_look_denied.swap(true, Ordering::Relaxed) {
                    let cause: &dyn std::error::Error = &error;
                    tracing::warn!(
                        target: NOTICE,
                        cause,
                        "without secretsmanager:DescribeSecret a key that is there, but has no \
                         current value, looks like one that does not exist"
                    );
                }
                Ok(Observation::Denied)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns whether the permission to describe secrets was denied last.
    pub(crate) fn is_look_denied(&self) -> bool {
        self.is_look_denied.load(Ordering::Relaxed)
    }

    /// Deletes a secret permanently, by its ARN or name. AWS reports success even if the secret
    /// does not exist.
    pub(crate) async fn remove(&self, id: &str, deadline: Deadline) -> Result<(), AwsError> {
        let send = || {
            let request = self.session.secrets_once.delete_secret();
            request.secret_id(id).force_delete_without_recovery(true).send()
        };
        let call = AwsCall::new("secretsmanager:DeleteSecret", id);
        let output = self.session.ask(&call, deadline, send).await?;
        whole(&call, output.arn()).map(drop)
    }

    /// Sends the cheapest request that requires a reachable AWS and valid credentials.
    pub(crate) async fn ping(&self, deadline: Deadline) -> Result<(), AwsError> {
        let send = || self.session.secrets.list_secrets().max_results(1).send();
        let call = AwsCall::new("secretsmanager:ListSecrets", "*");
        let output = self.session.ask(&call, deadline, send).await?;
        let some = whole(&call, output.secret_list.as_ref())?.first();
        self.note_arn(some.and_then(SecretListEntry::arn).unwrap_or_default());
        Ok(())
    }
}

/// Requires a field that every response of AWS has. Another server may respond 200 with an empty
/// body.
pub(super) fn whole<T>(call: &AwsCall, part: Option<T>) -> Result<T, AwsError> {
    part.ok_or_else(|| {
        AwsError::NotUnderstood(call.clone(), SanitizedError::new("it is not complete"))
    })
}

/// Checks that a response is about the requested secret.
fn named(call: &AwsCall, name: Option<&str>, secret: &str) -> Result<(), AwsError> {
    let found = whole(call, name)?;
    if found == secret {
        return Ok(());
    }
    Err(AwsError::OtherSecret { secret: secret.to_owned(), found: found.to_owned() })
}

fn name_key(error: &mut AwsError, key: Option<&str>) {
    if let (AwsError::Refused(refusal), Some(key)) = (error, key) {
        refusal.name_key(key);
    }
}

/// The error code for a secret, or a version of it, that does not exist.
pub(crate) const NOT_FOUND: &str = "ResourceNotFoundException";
/// The error code for a name that already exists.
pub(crate) const EXISTS: &str = "ResourceExistsException";
/// The error code for a secret that is scheduled for deletion, and for other conflicts.
pub(crate) const INVALID: &str = "InvalidRequestException";

/// Returns the value as text, if Secrets Manager accepts it.
pub(crate) fn as_text(value: &Secret) -> Result<&str, AwsError> {
    match std::str::from_utf8(value.expose()) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => Err(AwsError::NotText),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_another_secret_is_refused() {
        let call = AwsCall::new("secretsmanager:GetSecretValue", "a");
        assert!(named(&call, Some("a"), "a").is_ok());
        let said = named(&call, Some("A"), "a").unwrap_err().to_string();
        assert_eq!(said, "AWS answered with secret 'A' where 'a' was asked for");
        assert!(matches!(named(&call, None, "a"), Err(AwsError::NotUnderstood(..))));
    }
}
