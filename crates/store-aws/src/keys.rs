//! Keys as secrets: what Secrets Manager's answers mean.

use std::time::Duration;

use kes_store::{ListQuery, Page};
use kes_types::{KeyName, Secret};

use crate::backoff;
use crate::error::AwsError;
use crate::manager::{EXISTS, INVALID, Manager, NOT_FOUND, as_text};
use crate::refusal::Refusal;
use crate::secret::{CreationToken, Observation, SECRET_LEN_MAX};
use crate::session::Deadline;

/// How a creation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// The value is stored, and was read again.
    Done,
    /// The name is taken.
    Exists,
}

/// A creation.
struct Write<'a> {
    secret: String,
    value: &'a Secret,
    /// The same as a text.
    text: &'a str,
    token: CreationToken,
    deadline: Deadline,
}

/// What becomes of a creation after an error.
enum NextStep {
    /// It ended in this way all the same.
    Ended(Creation),
    /// It is sent again.
    Again,
    /// The error stands.
    Failed,
}

impl Manager {
    /// Reads a value; none if AWS says so again and again: the same code stands for a secret without
    /// a current value, and for one that somebody has just created elsewhere.
    pub(crate) async fn read(
        &self,
        key: &KeyName,
        deadline: Deadline,
    ) -> Result<Option<Secret>, AwsError> {
        let secret = self.names.secret(key);
        let (mut backoff, mut was_absent) = (Backoff::new(REREADS_MAX), false);
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
                    if !(self.session.is_recent(since) && backoff.wait(deadline).await) {
                        return Err(AwsError::ScheduledForDeletion { secret, since });
                    }
                }
                Observation::Present(found) if error.has_code(NOT_FOUND) => {
                    if !backoff.wait(deadline).await {
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

    /// Creates a secret, and reads it: only what AWS gives back is there.
    pub(crate) async fn create(
        &self,
        key: &KeyName,
        value: &Secret,
        deadline: Deadline,
    ) -> Result<Creation, AwsError> {
        if value.expose().len() > SECRET_LEN_MAX {
            return Err(AwsError::TooLarge);
        }
        let write = Write {
            secret: self.names.secret(key),
            value,
            text: as_text(value)?,
            token: CreationToken::new(&*self.random).map_err(AwsError::NoToken)?,
            deadline,
        };
        match self.write(&write).await? {
            Creation::Done => self.read_back(&write).await,
            Creation::Exists => Ok(Creation::Exists),
        }
    }

    /// Sends the creation until AWS has said how it ended. What may have happened is looked at
    /// before it is sent again, and is then sent with the same token.
    async fn write(&self, write: &Write<'_>) -> Result<Creation, AwsError> {
        let mut backoff = Backoff::new(REWRITES_MAX);
        let mut is_in_doubt = false;
        loop {
            let Write { secret, text, token, deadline, .. } = write;
            let error = match self.put(secret, text, token, *deadline).await {
                Ok(()) => return Ok(Creation::Done),
                Err(error) => error,
            };
            is_in_doubt |= error.may_have_happened();
            let is_anothers = error.has_code(EXISTS) && !is_in_doubt;
            match self.after(&error, write, is_in_doubt, backoff.is_over()).await? {
                NextStep::Ended(creation) => return Ok(creation),
                NextStep::Again if backoff.wait(*deadline).await => {}
                NextStep::Again if is_anothers => return Ok(Creation::Exists),
                NextStep::Again | NextStep::Failed => return Err(error),
            }
        }
    }

    /// What becomes of a creation that was answered with an error.
    async fn after(
        &self,
        error: &AwsError,
        write: &Write<'_>,
        is_in_doubt: bool,
        is_last: bool,
    ) -> Result<NextStep, AwsError> {
        let (is_taken, is_invalid) = (error.has_code(EXISTS), error.has_code(INVALID));
        if error.refusal().is_some_and(Refusal::is_throttling) {
            return Ok(NextStep::Again);
        }
        let is_denied = error.refusal().is_some_and(Refusal::is_denial);
        if is_denied && !is_in_doubt {
            // AWS denies before it looks whether the name is taken.
            return Ok(match self.look(&write.secret, write.deadline).await {
                Ok(Observation::Present(_)) => NextStep::Ended(Creation::Exists),
                _ => NextStep::Failed,
            });
        }
        if !is_taken && !is_invalid && !error.may_have_happened() {
            return Ok(NextStep::Failed);
        }
        Ok(match self.look(&write.secret, write.deadline).await {
            Ok(Observation::Present(_)) if is_in_doubt => self.whose(write).await?,
            Ok(Observation::Present(_)) if is_invalid => NextStep::Failed,
            Ok(Observation::Present(_)) => NextStep::Ended(Creation::Exists),
            // A deletion that AWS is not done with yet looks the same for a moment.
            Ok(Observation::Deleted { since, .. }) if is_last => {
                let secret = write.secret.clone();
                return Err(AwsError::ScheduledForDeletion { secret, since });
            }
            // AWS's own word stands.
            Ok(Observation::Denied) | Err(_) if is_taken && !is_in_doubt => {
                NextStep::Ended(Creation::Exists)
            }
            Ok(Observation::Denied) if is_taken => self.whose(write).await?,
            Ok(Observation::Denied) if is_invalid => NextStep::Failed,
            Ok(Observation::Absent | Observation::Deleted { .. } | Observation::Denied) => {
                NextStep::Again
            }
            Err(unseen) if is_taken => return Err(unseen),
            Err(_) => NextStep::Failed,
        })
    }

    /// Whether the secret under the name is the one that we sent: no other has its bytes.
    async fn whose(&self, write: &Write<'_>) -> Result<NextStep, AwsError> {
        match self.current(&write.secret, write.deadline).await {
            Ok(current) if current.value == *write.value => Ok(NextStep::Ended(Creation::Done)),
            Ok(_) => Ok(NextStep::Ended(Creation::Exists)),
            Err(error) if error.has_code(NOT_FOUND) => Ok(NextStep::Again),
            Err(error) => Err(error),
        }
    }

    /// Demands what was written, as every other server will read it.
    async fn read_back(&self, write: &Write<'_>) -> Result<Creation, AwsError> {
        let secret = || write.secret.clone();
        let mut backoff = Backoff::new(REREADS_MAX);
        loop {
            match self.current(&write.secret, write.deadline).await {
                Ok(current) if current.value == *write.value => return Ok(Creation::Done),
                Ok(_) => return Err(AwsError::Changed { secret: secret() }),
                Err(error) if error.has_code(NOT_FOUND) => {
                    if !backoff.wait(write.deadline).await {
                        return Err(AwsError::NotReadBack { secret: secret() });
                    }
                }
                Err(source) => {
                    let source = Box::new(source);
                    return Err(AwsError::Unreadable { secret: secret(), source });
                }
            }
        }
    }

    /// Deletes a secret for good, also one that is scheduled for deletion; tells whether there was
    /// one. Only the secret that was there at first: another may be created under the name
    /// meanwhile.
    pub(crate) async fn delete(&self, key: &KeyName, deadline: Deadline) -> Result<bool, AwsError> {
        let secret = self.names.secret(key);
        let Some(arn) = self.found(&secret, deadline).await? else { return Ok(false) };
        let id = if arn.is_empty() { &secret } else { &arn };
        let mut backoff = Backoff::new(REWRITES_MAX);
        let mut may_be_done = false;
        loop {
            let error = match self.remove(id, deadline).await {
                Ok(()) => break,
                Err(error) if error.has_code(NOT_FOUND) => return Ok(may_be_done),
                Err(error) => error,
            };
            may_be_done |= error.may_have_happened();
            // Under its name it may be another by now.
            let is_undone = error.refusal().is_some_and(Refusal::is_throttling);
            let may_again = is_undone || (error.may_have_happened() && !arn.is_empty());
            if !(may_again && backoff.wait(deadline).await) {
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
        let mut backoff = Backoff::new(REREADS_MAX);
        while let Ok(Observation::Present(found) | Observation::Deleted { found, .. }) =
            self.look(secret, deadline).await
        {
            if found.arn != arn || !backoff.wait(deadline).await {
                return;
            }
        }
    }

    /// Lists keys, a page of them. AWS gives secrets in no order that is promised.
    pub(crate) async fn page(
        &self,
        query: &ListQuery,
        deadline: Deadline,
    ) -> Result<Page, AwsError> {
        Ok(Page::select(self.list(&query.prefix, deadline).await?, query))
    }
}

/// How long after AWS said that there is no such secret it is asked again: the servers of one that
/// lags behind say so both, and a key that was just created must not look lost.
const CONFIRM_AFTER: Duration = Duration::from_millis(400);

/// How often a read is repeated that AWS may answer otherwise in a moment.
const REREADS_MAX: u32 = 5;

/// How often a write is sent again that did not happen, or waits for a deletion to be done.
const REWRITES_MAX: u32 = 5;

/// The first of the waits between them; each is twice as long as the one before.
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// Exponential backoff with jitter between attempts.
#[derive(Debug)]
struct Backoff {
    done: u32,
    max: u32,
}

impl Backoff {
    fn new(max: u32) -> Self {
        Self { done: 0, max }
    }

    fn is_over(&self) -> bool {
        self.done >= self.max
    }

    /// Waits before the next attempt; no if there is none, for want of time or because there were
    /// enough.
    async fn wait(&mut self, deadline: Deadline) -> bool {
        if self.is_over() {
            return false;
        }
        let delay = backoff::delay(BACKOFF_MIN, self.done, Duration::MAX, fastrand::f64());
        self.done += 1;
        deadline.wait(delay).await
    }
}
