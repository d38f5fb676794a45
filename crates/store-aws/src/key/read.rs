//! Keys as secrets: what Secrets Manager's answers mean.

use std::time::Duration;

use kes_store::{Backoff, Deadline, Retries};
use kes_types::{KeyName, Secret};

use crate::error::AwsError;
use crate::error::refusal::Refusal;
use crate::key::secret::Observation;
use crate::key::secrets_manager::{INVALID, NOT_FOUND, SecretsManager};

impl SecretsManager {
    /// Reads a value; none if AWS says so again and again: the same code stands for a secret without
    /// a current value, and for one that another server has just created.
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
                    // A deletion for good looks like that until AWS is done with it.
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

    /// Waits before AWS is asked again for a secret that is not there, if there is time.
    async fn pause_to_confirm(&self, deadline: Deadline) -> Result<bool, AwsError> {
        let _place = self.confirmations.try_acquire().map_err(|_| AwsError::TooManyAbsent)?;
        Ok(deadline.wait(CONFIRM_AFTER).await)
    }

    /// Deletes a secret for good, also one that is scheduled for deletion; tells whether there was
    /// one. Only the secret that was there at first: another may be created under the name
    /// meanwhile.
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
            // Under its name it may be another by now.
            let is_undone = error.refusal().is_some_and(Refusal::is_throttling);
            let may_again = is_undone || (error.is_ambiguous() && !arn.is_empty());
            if !(may_again && retries.wait(deadline).await) {
                return Err(error);
            }
        }
        self.settle(&secret, &arn, deadline).await;
        Ok(true)
    }

    /// The ARN of the secret under a name, none if AWS says twice that there is none, an empty one
    /// if there is one of which we may not know it.
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
                    // It is scheduled for deletion.
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

    /// Waits a moment until the deletion shows, so that a read after it finds nothing. AWS has
    /// said that it is done: nothing that goes wrong here changes that.
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

/// How long after AWS said that there is no such secret it is asked again: the servers of one that
/// lags behind say so both, and a key that was just created must not look lost.
const CONFIRM_AFTER: Duration = Duration::from_millis(400);

/// How often a read is repeated that AWS may answer otherwise in a moment.
pub(crate) const REREADS_MAX: u32 = 5;

/// How often a write is sent again that did not happen, or waits for a deletion to be done.
pub(crate) const REWRITES_MAX: u32 = 5;

/// The waits between them.
pub(crate) const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(100), max: Duration::MAX, jitter_share: 0.5 };
