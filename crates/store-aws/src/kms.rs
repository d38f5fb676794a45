//! The KMS key that new secrets are encrypted under, looked at before it is needed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyState, KeyUsageType};

use crate::call::Call;
use crate::error::AwsError;
use crate::session::{Deadline, Session};

/// How long what is known of the key is good for.
const GOOD_FOR: Duration = Duration::from_mins(5);

/// How long a KMS that never answered keeps us from being ready.
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
enum Seen {
    /// Nothing yet.
    Nothing,
    /// Nothing, and KMS has been in trouble since then.
    Trouble(Instant),
    /// It could be used, then.
    Usable(Instant),
    /// It cannot be seen from here; whether it can be used shows when it is.
    Hidden,
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
    /// old. What is returned is, once, why it cannot be seen.
    pub(crate) async fn check(
        &self,
        session: &Session,
        deadline: Deadline,
    ) -> Result<Option<AwsError>, AwsError> {
        let (now, before) = (session.now(), *self.seen());
        match before {
            Seen::Usable(at) if now.saturating_duration_since(at) < GOOD_FOR => return Ok(None),
            Seen::Hidden => return Ok(None),
            _ => {}
        }
        let looked = self.look(session, deadline).await;
        let (seen, result) = weigh(before, looked, now);
        *self.seen() = seen;
        result
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, session: &Session, deadline: Deadline) -> Result<(), AwsError> {
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
            Err(error) => return Err(error),
        };
        match problem {
            Some(source) => Err(AwsError::Key { key: self.key.clone(), source }),
            None => Ok(()),
        }
    }
}

/// Only what KMS says about the key is a reason not to use it. Secrets Manager uses it on its own:
/// KMS may not let us see it, may not be where we ask, or not be reachable from here at all.
fn weigh(
    before: Seen,
    looked: Result<(), AwsError>,
    now: Instant,
) -> (Seen, Result<Option<AwsError>, AwsError>) {
    match (looked, before) {
        (Err(error @ AwsError::Key { .. }), _) => (Seen::Nothing, Err(error)),
        (Err(error), _) if !error.is_passing() => (Seen::Hidden, Ok(Some(error))),
        // KMS answered once: that it does not now says nothing about the key.
        (Ok(()), _) | (Err(_), Seen::Usable(_)) => (Seen::Usable(now), Ok(None)),
        (Err(error), Seen::Trouble(since)) => {
            if now.saturating_duration_since(since) < PATIENCE {
                (before, Err(error))
            } else {
                (Seen::Hidden, Ok(Some(error)))
            }
        }
        (Err(error), _) => (Seen::Trouble(now), Err(error)),
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

    use kes_types::{Clock as _, SystemClock};

    use super::*;
    use crate::refusal::Refusal;
    use crate::told::Told;

    #[test]
    fn only_what_is_said_about_the_key_speaks_against_it() {
        let now = SystemClock.monotonic();
        let after = |seconds| now + Duration::from_secs(seconds);
        let call = || Call::new("kms:DescribeKey", "k");
        let refused = |code: &str| {
            let refusal = Refusal::new(call(), 400, Some(code.to_owned()), "", None);
            Err(AwsError::Refused(Box::new(refusal)))
        };
        let disabled = || Err(AwsError::Key { key: "k".to_owned(), source: KeyProblem::Disabled });
        let silent = || Err(AwsError::NoAnswer(call(), Told::new("reset")));

        let (seen, result) = weigh(Seen::Usable(now), disabled(), after(1));
        assert!(seen == Seen::Nothing && result.is_err());
        for code in ["AccessDeniedException", "UnknownOperationException"] {
            let (seen, result) = weigh(Seen::Nothing, refused(code), now);
            assert!(seen == Seen::Hidden && result.unwrap().is_some(), "{code}");
        }
        let (seen, result) = weigh(Seen::Nothing, silent(), now);
        assert!(seen == Seen::Trouble(now) && result.is_err());
        let (seen, result) = weigh(seen, refused("ThrottlingException"), after(59));
        assert!(seen == Seen::Trouble(now) && result.is_err());
        let (seen, result) = weigh(seen, silent(), after(60));
        assert!(seen == Seen::Hidden && result.unwrap().is_some());
        let (seen, result) = weigh(Seen::Usable(now), silent(), after(1));
        assert!(seen == Seen::Usable(after(1)) && result.unwrap().is_none());
    }

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
