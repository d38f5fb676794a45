//! Reads and deletes secrets, and interprets the error codes of Secrets Manager.

use std::time::Duration;

use kes_store::{Backoff, Deadline, Retries};
use kes_types::{KeyName, Secret};

use crate::error::AwsError;
use crate::error::refusal::Refusal;
use crate::key::secret::Observation;
use crate::key::secrets_manager::{INVALID, NOT_FOUND, SecretsManager};

impl SecretsManager {
    /// Reads a value; returns none if AWS reports repeatedly that the secret does not exist. One
    /// report is not enough: the same code also means a secret without a current value, or one that
    /// another server has just created.
    pub(crate) async fn read(
        &self,
        key: &KeyName,
        deadline: Deadline,
    ) -> Result<Option<Secret>, AwsError> {
        let secret = self.names.secret(key);
        let (mut retries, mut was_absent) = (Retries::new(BACKOFF, REREADS_MAX), false);
        loop {
            let error = match self.current(&secret, deadline).await {
                Ok(current) => return Ok(Some(current.value)),
                Err(error) => error,
            };
            if !error.has_code(NOT_FOUND) && !error.has_code(INVALID) {
                return Err(error);
            }
            let look = self.look(&secret, deadline).await?;
            let is_absent = look == Observation::Absent
                || (look == Observation::Denied && error.has_code(NOT_FOUND));
            if is_absent && was_absent {
                return Ok(None);
            }
            if is_absent && !self.pause_to_confirm(deadline).await? {
                return Err(error);
            }
            was_absent = is_absent;
            match look {
                _ if is_absent => {}
                Observation::Deleted { since, .. } => {
                    // A permanent deletion in progress is reported in the same way until it
                    // completes.
                    if !(self.session.is_recent(since) && retries.wait(deadline).await) {
                        return Err(AwsError::ScheduledForDeletion { secret, since });
                    }
                }
                Observation::Present(found) if error.has_code(NOT_FOUND) => {
                    if !retries.wait(deadline).await {
                        return Err(AwsError::NoCurrentValue { secret, arn: found.arn });
                    }
                }
                Observation::Present(_) | Observation::Denied | Observation::Absent => {
                    return Err(error);
                }
            }
        }
    }

    /// Waits before the existence of an absent secret is checked again; returns whether there was
    /// time.
    async fn pause_to_confirm(&self, deadline: Deadline) -> Result<bool, AwsError> {
        let _place = self.confirmations.try_acquire().map_err(|_| AwsError::TooManyAbsent)?;
        Ok(deadline.wait(CONFIRM_AFTER).await)
    }

    /// Deletes a secret permanently, even if it is scheduled for deletion; returns whether it
    /// existed. The secret is identified at the start and deleted by its ARN, because another one
    /// may be created under the same name in the meantime.
    pub(crate) async fn delete(&self, key: &KeyName, deadline: Deadline) -> Result<bool, AwsError> {
        let secret = self.names.secret(key);
        let Some(arn) = self.found(&secret, deadline).await? else { return Ok(false) };
        let id = if arn.is_empty() { &secret } else { &arn };
        let mut retries = Retries::new(BACKOFF, REWRITES_MAX);
        let mut may_be_done = false;
        loop {
            let error = match self.remove(id, deadline).await {
                Ok(()) => break,
                Err(error) if error.has_code(NOT_FOUND) => return Ok(may_be_done),
                Err(error) => error,
            };
            may_be_done |= error.is_ambiguous();
            // Without an ARN the request could delete a newer secret of the same name.
            let is_undone = error.refusal().is_some_and(Refusal::is_throttling);
            let may_again = is_undone || (error.is_ambiguous() && !arn.is_empty());
            if !(may_again && retries.wait(deadline).await) {
                return Err(error);
            }
        }
        self.settle(&secret, &arn, deadline).await;
        Ok(true)
    }

    /// Returns the ARN of a secret; none if AWS reports twice that it does not exist; an empty
    /// string if it exists but its ARN is not accessible.
    async fn found(&self, secret: &str, deadline: Deadline) -> Result<Option<String>, AwsError> {
        let mut was_absent = false;
        loop {
            let absent = match self.look(secret, deadline).await? {
                Observation::Present(found) | Observation::Deleted { found, .. } => {
                    return Ok(Some(found.arn));
                }
                Observation::Absent => AwsError::Doubtful { secret: secret.to_owned() },
                Observation::Denied => match self.current(secret, deadline).await {
                    Ok(current) => return Ok(Some(current.arn)),
                    // The secret is scheduled for deletion.
                    Err(error) if error.has_code(INVALID) => return Ok(Some(String::new())),
                    Err(error) if error.has_code(NOT_FOUND) => error,
                    Err(error) => return Err(error),
                },
            };
            if was_absent {
                return Ok(None);
            }
            if !self.pause_to_confirm(deadline).await? {
                return Err(absent);
            }
            was_absent = true;
        }
    }

    /// Waits for a short time until the deletion is visible, so that later reads do not find the
    /// secret. AWS has confirmed the deletion, so errors here are ignored.
    async fn settle(&self, secret: &str, arn: &str, deadline: Deadline) {
        let mut retries = Retries::new(BACKOFF, REREADS_MAX);
        while let Ok(Observation::Present(found) | Observation::Deleted { found, .. }) =
            self.look(secret, deadline).await
        {
            if found.arn != arn || !retries.wait(deadline).await {
                return;
            }
        }
    }
}

/// The delay before the second check of an absent secret. A replica that lags behind reports *not
/// found* at first, and a key that was just created must not be reported as absent.
const CONFIRM_AFTER: Duration = Duration::from_millis(400);

/// The maximum number of retries of a read whose result may change soon.
pub(crate) const REREADS_MAX: u32 = 5;

/// The maximum number of retries of a write that had no effect, or that waits for a deletion to
/// complete.
pub(crate) const REWRITES_MAX: u32 = 5;

/// The backoff between these retries.
pub(crate) const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), max: Duration::MAX, jitter_share: 0.5 };
