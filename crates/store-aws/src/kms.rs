//! The KMS key that new secrets are encrypted under, looked at before it is needed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyState, KeyUsageType};

use crate::call::Call;
use crate::error::AwsError;
use crate::refusal::Refusal;
use crate::session::{Deadline, Session};

/// How long what is known of the key is good for.
const GOOD_FOR: Duration = Duration::from_mins(5);

/// How long we wait for a KMS that never answers before we do without: Secrets Manager uses the key
/// on its own, and in a private network KMS may not be reachable from here at all.
const PATIENCE: Duration = Duration::from_mins(1);

/// Looks after the key of the configuration.
#[derive(Debug)]
pub(crate) struct KmsKey {
    key: String,
    region: String,
    seen: Mutex<Seen>,
}

/// What is known of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing yet.
    Nothing,
    /// Nothing, and KMS has not answered since then.
    Silence(Instant),
    /// It can be used, or that cannot be seen from here; as of then.
    Usable(Instant),
    /// We may not see it; whether it can be used shows when it is.
    Hidden,
    /// It cannot be used.
    Unusable,
}

/// Why a key cannot be used for secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyProblem {
    #[error("there is no such key in region {0}")]
    NotFound(String),
    #[error("the key is scheduled for deletion{}; cancel that, or take another key", at(.0.as_deref()))]
    PendingDeletion(Option<String>),
    #[error("the key is disabled; enable it, or take another key")]
    Disabled,
    #[error("the key is in state {0}; a key for secrets is Enabled")]
    State(String),
    #[error("the key is made for {0}; a key for secrets has the usage ENCRYPT_DECRYPT")]
    Usage(String),
    #[error("the key is of kind {0}; a key for secrets is SYMMETRIC_DEFAULT")]
    Spec(String),
    #[error("the key {arn} is not in region {region}, where the secrets are")]
    OtherRegion { arn: String, region: String },
    #[error("KMS says that it is no name of a key")]
    Name(#[source] Box<AwsError>),
}

fn at(date: Option<&str>) -> String {
    date.map(|date| format!(" at {date}")).unwrap_or_default()
}

impl KmsKey {
    pub(crate) fn new(key: String, region: String) -> Self {
        Self { key, region, seen: Mutex::new(Seen::Nothing) }
    }

    /// The key as the configuration names it.
    pub(crate) fn name(&self) -> &str {
        &self.key
    }

    /// Demands that the key can be used, as far as we may know, and by an answer that is not too
    /// old.
    pub(crate) async fn check(
        &self,
        session: &Session,
        deadline: Deadline,
    ) -> Result<Seen, AwsError> {
        let (now, before) = (session.now(), *self.seen());
        match before {
            Seen::Usable(at) if now.saturating_duration_since(at) < GOOD_FOR => return Ok(before),
            Seen::Hidden => return Ok(before),
            _ => {}
        }
        let looked = self.look(session, deadline).await;
        let (seen, result) = self.weigh(before, looked, now);
        *self.seen() = seen;
        result
    }

    /// A KMS that answered once and does not now is no reason to doubt the key.
    fn weigh(
        &self,
        before: Seen,
        looked: Result<Seen, AwsError>,
        now: Instant,
    ) -> (Seen, Result<Seen, AwsError>) {
        match (looked, before) {
            (Ok(seen), _) => (seen, Ok(seen)),
            (Err(error), Seen::Usable(_)) if error.is_passing() => {
                (Seen::Usable(now), Ok(Seen::Usable(now)))
            }
            (Err(error), Seen::Silence(since)) if error.is_silence() => {
                if now.saturating_duration_since(since) < PATIENCE {
                    return (before, Err(error));
                }
                let (key, cause) = (&self.key, &error as &dyn std::error::Error);
                tracing::warn!(cause, key, "KMS cannot be reached: the key is not looked at");
                (Seen::Usable(now), Ok(Seen::Usable(now)))
            }
            (Err(error), _) if error.is_silence() => (Seen::Silence(now), Err(error)),
            (Err(error), _) if error.is_passing() => (Seen::Nothing, Err(error)),
            (Err(error), _) => (Seen::Unusable, Err(error)),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, session: &Session, deadline: Deadline) -> Result<Seen, AwsError> {
        let call = Call::new("kms:DescribeKey", &self.key);
        let send = || session.kms.describe_key().key_id(&self.key).send();
        let problem = match session.ask(&call, deadline, send).await {
            Ok(answer) => match answer.key_metadata() {
                Some(key) => judge(key, &self.region).err(),
                None => Some(KeyProblem::NotFound(self.region.clone())),
            },
            Err(error) if error.has_code("NotFoundException") => {
                Some(KeyProblem::NotFound(self.region.clone()))
            }
            Err(error) if BAD_NAMES.iter().any(|code| error.has_code(code)) => {
                Some(KeyProblem::Name(Box::new(error)))
            }
            Err(error) if error.refusal().is_some_and(Refusal::is_denial) => {
                return Ok(Seen::Hidden);
            }
            Err(error) => return Err(error),
        };
        match problem {
            Some(source) => Err(AwsError::Key { key: self.key.clone(), source }),
            None => Ok(Seen::Usable(session.now())),
        }
    }
}

/// What KMS says of a name that is none.
const BAD_NAMES: [&str; 2] = ["InvalidArnException", "ValidationException"];

/// By the documentation of Secrets Manager: a symmetric key for encryption, of its own region.
fn judge(key: &KeyMetadata, region: &str) -> Result<(), KeyProblem> {
    if let Some(arn) = key.arn()
        && let Some(of_key) = arn.split(':').nth(3)
        && of_key != region
    {
        return Err(KeyProblem::OtherRegion { arn: arn.to_owned(), region: region.to_owned() });
    }
    let date = key.deletion_date().map(ToString::to_string);
    match key.key_state() {
        Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => {
            return Err(KeyProblem::PendingDeletion(date));
        }
        Some(KeyState::Disabled) => return Err(KeyProblem::Disabled),
        // Updating is the state of a key whose primary region changes; it works meanwhile.
        Some(KeyState::Enabled | KeyState::Updating) => {}
        Some(state) => return Err(KeyProblem::State(state.as_str().to_owned())),
        None if !key.enabled() => return Err(KeyProblem::Disabled),
        None => {}
    }
    match key.key_usage() {
        Some(KeyUsageType::EncryptDecrypt) | None => {}
        Some(usage) => return Err(KeyProblem::Usage(usage.as_str().to_owned())),
    }
    match key.key_spec() {
        Some(KeySpec::SymmetricDefault) | None => Ok(()),
        Some(spec) => Err(KeyProblem::Spec(spec.as_str().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kms::primitives::DateTime;

    use super::*;

    #[test]
    fn a_key_for_secrets_is_enabled_symmetric_and_here() {
        let good = || {
            KeyMetadata::builder()
                .key_id("k")
                .arn("arn:aws:kms:us-east-2:1:key/k")
                .enabled(true)
                .key_state(KeyState::Enabled)
                .key_usage(KeyUsageType::EncryptDecrypt)
                .key_spec(KeySpec::SymmetricDefault)
        };
        let pending = good()
            .key_state(KeyState::PendingDeletion)
            .deletion_date(DateTime::from_secs(1_800_000_000));
        for (key, want) in [
            (good(), ""),
            (good().key_state(KeyState::Updating), ""),
            (
                good().key_state(KeyState::Disabled).enabled(false),
                "the key is disabled; enable it, or take another key",
            ),
            (
                pending,
                "the key is scheduled for deletion at 2027-01-15T08:00:00Z; cancel that, or take \
                 another key",
            ),
            (
                good().key_state(KeyState::PendingImport),
                "the key is in state PendingImport; a key for secrets is Enabled",
            ),
            (
                good().key_usage(KeyUsageType::SignVerify),
                "the key is made for SIGN_VERIFY; a key for secrets has the usage ENCRYPT_DECRYPT",
            ),
            (
                good().key_spec(KeySpec::Rsa2048),
                "the key is of kind RSA_2048; a key for secrets is SYMMETRIC_DEFAULT",
            ),
            (
                good().arn("arn:aws:kms:eu-west-1:1:key/k"),
                "the key arn:aws:kms:eu-west-1:1:key/k is not in region us-east-2, where the \
                 secrets are",
            ),
        ] {
            let said = judge(&key.build().unwrap(), "us-east-2");
            let said = said.map_or_else(|problem| problem.to_string(), |()| String::new());
            assert_eq!(said, want);
        }
    }
}
