//! Checks the KMS key that new secrets are encrypted under, at the start and then periodically;
//! only the start waits for the result.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyState, KeyUsageType};
use kes_store::Deadline;
use kes_types::lock;
use tokio_util::sync::CancellationToken;

use crate::NOTICE;
use crate::auth::session::{self, AwsSession};
use crate::call::AwsCall;
use crate::error::AwsError;

/// How long the store is not ready because KMS has never responded.
const OUTAGE_MAX: Duration = Duration::from_mins(1);

/// Holds the result of the last check of the configured KMS key.
#[derive(Debug)]
pub(crate) struct KmsKey {
    key: String,
    region: String,
    seen: Mutex<Seen>,
}

/// The state of the KMS key.
#[derive(Clone, Debug)]
enum Seen {
    /// The key was not checked yet.
    Nothing,
    /// The key was not checked yet, and KMS has been failing since `since`.
    Failing { since: Instant, error: Arc<AwsError> },
    /// The key can be used.
    Usable,
    /// The key cannot be used.
    Unusable(Arc<AwsError>),
    /// The key cannot be described, for this reason. Only its use will show whether it can be used.
    Hidden(Arc<AwsError>),
}

impl Seen {
    /// Returns the interval until the next check.
    fn look_in(&self) -> Duration {
        match self {
            Self::Nothing | Self::Failing { .. } | Self::Unusable(_) => Duration::from_secs(10),
            Self::Usable => Duration::from_mins(5),
            Self::Hidden(_) => Duration::from_hours(1),
        }
    }
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
    #[error("the key is in state {0}, which passes")]
    NotNow(String),
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

    /// Returns the key as configured.
    pub(crate) fn name(&self) -> &str {
        &self.key
    }

    /// Returns an error if the key is known to be unusable, or if KMS has not responded yet.
    pub(crate) fn verdict(&self) -> Result<(), AwsError> {
        match &*self.seen() {
            Seen::Failing { error, .. } | Seen::Unusable(error) => {
                Err(AwsError::Known(Arc::clone(error)))
            }
            Seen::Nothing | Seen::Usable | Seen::Hidden(_) => Ok(()),
        }
    }

    /// Returns why the key cannot be described, if so.
    pub(crate) fn hidden(&self) -> Option<AwsError> {
        match &*self.seen() {
            Seen::Hidden(error) => Some(AwsError::Known(Arc::clone(error))),
            _ => None,
        }
    }

    /// Checks the key now.
    pub(crate) async fn look(&self, session: &AwsSession, deadline: Deadline) {
        let looked = self.ask(session, deadline).await;
        let mut seen = self.seen();
        *seen = weigh(&seen, looked, session.now());
    }

    /// Checks the key periodically, until `stop`.
    pub(crate) async fn watch(self: Arc<Self>, session: Arc<AwsSession>, stop: CancellationToken) {
        let look = async {
            loop {
                let look_in = self.seen().look_in();
                tokio::time::sleep(look_in).await;
                let was_hidden = self.hidden().is_some();
                self.look(&session, session::deadline()).await;
                if let Some(error) = self.hidden().filter(|_| !was_hidden) {
                    let (key, cause) = (&self.key, &error as &dyn std::error::Error);
                    tracing::warn!(target: NOTICE, key, cause, "the KMS key cannot be seen");
                }
            }
        };
        let _ = stop.run_until_cancelled(look).await;
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    async fn ask(&self, session: &AwsSession, deadline: Deadline) -> Result<(), AwsError> {
        let call = AwsCall::new("kms:DescribeKey", &self.key);
        let send = || session.kms.describe_key().key_id(&self.key).send();
        let problem = match session.ask(&call, deadline, send).await {
            Ok(answer) => match answer.key_metadata() {
                Some(key) => judge(key, &self.region).err(),
                None => Some(KeyProblem::NotFound(self.region.clone())),
            },
            // AWS creates its own key when the first secret needs it.
            Err(error) if error.has_code("NotFoundException") && self.key == AWS_ALIAS => None,
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

/// Computes the state after a check. Only a response of KMS about the key makes it unusable.
/// Secrets Manager uses the key on its own, and KMS may deny this server access, be at another
/// endpoint, or be unreachable from here.
fn weigh(before: &Seen, looked: Result<(), AwsError>, now: Instant) -> Seen {
    let error = match looked {
        Ok(()) => return Seen::Usable,
        Err(error) => Arc::new(error),
    };
    match before {
        _ if matches!(*error, AwsError::Key { .. }) => Seen::Unusable(error),
        _ if !error.is_transient() => Seen::Hidden(error),
        // The key was unusable temporarily, and may be usable again.
        Seen::Unusable(known) if known.is_transient() => Seen::Failing { since: now, error },
        // KMS responded before; a failure now says nothing about the key.
        Seen::Usable | Seen::Unusable(_) | Seen::Hidden(_) => before.clone(),
        Seen::Failing { since, .. } if now.saturating_duration_since(*since) >= OUTAGE_MAX => {
            Seen::Hidden(error)
        }
        Seen::Failing { since, .. } => Seen::Failing { since: *since, error },
        Seen::Nothing => Seen::Failing { since: now, error },
    }
}

/// The key that AWS manages for Secrets Manager in each account.
const AWS_ALIAS: &str = "alias/aws/secretsmanager";

/// The error codes of KMS for an invalid name.
const BAD_NAMES: [&str; 2] = ["InvalidArnException", "ValidationException"];

/// Checks the requirements of Secrets Manager: a symmetric encryption key in the same region.
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
        // The state `Updating` means that the primary region of a key changes; the key is usable
        // meanwhile.
        Some(KeyState::Enabled | KeyState::Updating) => {}
        Some(state @ (KeyState::Creating | KeyState::Unavailable)) => {
            return Err(KeyProblem::NotNow(state.as_str().to_owned()));
        }
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
    use crate::error::refusal::Refusal;
    use crate::error::sanitized::SanitizedError;

    #[test]
    fn only_what_is_said_about_the_key_speaks_against_it() {
        let now = SystemClock.monotonic();
        let after = |seconds| now + Duration::from_secs(seconds);
        let call = || AwsCall::new("kms:DescribeKey", "k");
        let refused = |code: &str| {
            let refusal = Refusal::new(call(), 400, Some(code.to_owned()), "", None);
            Err(AwsError::Refused(Box::new(refusal)))
        };
        let disabled = || Err(AwsError::Key { key: "k".to_owned(), source: KeyProblem::Disabled });
        let silent = || Err(AwsError::NoAnswer(call(), SanitizedError::new("reset")));

        let unusable = weigh(&Seen::Usable, disabled(), now);
        assert!(matches!(unusable, Seen::Unusable(_)));
        assert!(matches!(weigh(&unusable, silent(), now), Seen::Unusable(_)));
        assert!(matches!(weigh(&unusable, Ok(()), now), Seen::Usable));
        assert!(matches!(weigh(&Seen::Usable, silent(), now), Seen::Usable));
        let away = KeyProblem::NotNow("Unavailable".to_owned());
        let away = Err(AwsError::Key { key: "k".to_owned(), source: away });
        let unusable = weigh(&Seen::Usable, away, now);
        assert!(matches!(weigh(&unusable, silent(), now), Seen::Failing { .. }));
        for code in ["AccessDeniedException", "UnknownOperationException"] {
            let seen = weigh(&Seen::Nothing, refused(code), now);
            assert!(matches!(seen, Seen::Hidden(_)), "{code}");
        }
        let seen = weigh(&Seen::Nothing, silent(), now);
        let seen = weigh(&seen, refused("ThrottlingException"), after(59));
        assert!(matches!(seen, Seen::Failing { since, .. } if since == now));
        assert!(matches!(weigh(&seen, silent(), after(60)), Seen::Hidden(_)));
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
                good().key_state(KeyState::Unavailable),
                "the key is in state Unavailable, which passes",
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
