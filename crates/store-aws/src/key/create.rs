//! Creates secrets, with a retry loop that observes the secret after an ambiguous attempt, before
//! it retries.
//!
//! The pure function [`next_step`] decides what follows a failed attempt. The final result depends
//! on the value that AWS returns: the bytes of a key are random, so only the value shows which
//! writer created the secret.

use kes_store::{Deadline, Retries};
use kes_types::{KeyName, Secret};

use crate::error::AwsError;
use crate::error::refusal::Refusal;
use crate::key::read::{BACKOFF, REREADS_MAX, REWRITES_MAX};
use crate::key::secret::{CreationToken, Observation, SECRET_LEN_MAX};
use crate::key::secrets_manager::{EXISTS, INVALID, NOT_FOUND, SecretsManager, as_text};

/// The result of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// The value is stored and was read back.
    Done,
    /// A secret of that name already exists.
    Exists,
}

/// A secret to create.
struct Write<'a> {
    secret: String,
    value: &'a Secret,
    /// The value as text.
    text: &'a str,
    token: CreationToken,
    deadline: Deadline,
}

/// The kind of error of a failed attempt to create a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CreateError {
    /// AWS did nothing, because of its rate limits.
    Throttled,
    /// AWS denied the request. AWS checks permissions before it checks whether the name exists.
    Denied,
    /// `ResourceExistsException`.
    Taken,
    /// `InvalidRequestException`: the secret is scheduled for deletion, or is being deleted.
    Invalid,
    /// No response, or an error after which the secret may exist.
    Ambiguous,
    /// Any other definite error.
    Refused,
}

/// The result of observing the name after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Observed {
    Absent,
    Present,
    /// The secret is scheduled for deletion.
    Deleted,
    /// This server has no permission to observe it.
    Denied,
    /// The observation failed.
    Failed,
}

/// The next step after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextStep {
    /// Observe the name, then decide.
    Observe,
    /// Wait, and send the request again with the same token.
    Retry,
    /// Compare the stored secret with the value that was sent.
    Compare,
    /// Another writer created the name.
    Exists,
    /// Return the error of the attempt.
    Fail,
    /// Return the error of the observation.
    FailUnobserved,
}

/// Decides what follows a failed attempt. `observed` is none before the observation; `ambiguous` is
/// true if this or an earlier attempt may have created the secret.
#[expect(clippy::match_same_arms, reason = "an arm for each reason, in the order of the errors")]
fn next_step(error: CreateError, observed: Option<Observed>, ambiguous: bool) -> NextStep {
    use CreateError::{Ambiguous, Denied, Invalid, Refused, Taken, Throttled};
    match (error, observed, ambiguous) {
        (Throttled, _, _) => NextStep::Retry,
        (Refused, _, _) | (Denied, _, true) => NextStep::Fail,
        (Denied | Taken | Invalid | Ambiguous, None, _) => NextStep::Observe,

        (Denied, Some(Observed::Present), false) => NextStep::Exists,
        (Denied, Some(_), false) => NextStep::Fail,

        (Taken | Invalid | Ambiguous, Some(Observed::Present), true) => NextStep::Compare,
        (Taken | Ambiguous, Some(Observed::Present), false) => NextStep::Exists,
        (Invalid, Some(Observed::Present), false) => NextStep::Fail,

        // While a deletion is in progress, both of these can be observed for a short time.
        (Taken | Invalid | Ambiguous, Some(Observed::Absent | Observed::Deleted), _) => {
            NextStep::Retry
        }

        // The only information is the error code, which says that the name exists.
        (Taken, Some(Observed::Denied | Observed::Failed), false) => NextStep::Exists,
        (Taken, Some(Observed::Denied), true) => NextStep::Compare,
        (Taken, Some(Observed::Failed), true) => NextStep::FailUnobserved,
        (Invalid, Some(Observed::Denied), _) => NextStep::Fail,
        (Ambiguous, Some(Observed::Denied), _) => NextStep::Retry,
        (Invalid | Ambiguous, Some(Observed::Failed), _) => NextStep::Fail,
    }
}

impl CreateError {
    fn of(error: &AwsError) -> Self {
        let refusal = error.refusal();
        if refusal.is_some_and(Refusal::is_throttling) {
            Self::Throttled
        } else if refusal.is_some_and(Refusal::is_denial) {
            Self::Denied
        } else if error.has_code(EXISTS) {
            Self::Taken
        } else if error.has_code(INVALID) {
            Self::Invalid
        } else if error.is_ambiguous() {
            Self::Ambiguous
        } else {
            Self::Refused
        }
    }
}

impl SecretsManager {
    /// Creates a secret and reads it back: the creation succeeds only when AWS returns the value.
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

    /// Sends the request, each time with the same token, until the outcome is known.
    async fn write(&self, write: &Write<'_>) -> Result<Creation, AwsError> {
        let Write { secret, text, token, deadline, .. } = write;
        let mut retries = Retries::new(BACKOFF, REWRITES_MAX);
        let mut ambiguous = false;
        loop {
            let error = match self.put(secret, text, token, *deadline).await {
                Ok(()) => return Ok(Creation::Done),
                Err(error) => error,
            };
            let kind = CreateError::of(&error);
            ambiguous |= error.is_ambiguous();
            let (mut step, mut unobserved, mut deleted_since) =
                (next_step(kind, None, ambiguous), None, None);
            if step == NextStep::Observe {
                let observed = match self.look(secret, *deadline).await {
                    Ok(Observation::Absent) => Observed::Absent,
                    Ok(Observation::Present(_)) => Observed::Present,
                    Ok(Observation::Deleted { since, .. }) => {
                        deleted_since = Some(since);
                        Observed::Deleted
                    }
                    Ok(Observation::Denied) => Observed::Denied,
                    Err(error) => {
                        unobserved = Some(error);
                        Observed::Failed
                    }
                };
                step = next_step(kind, Some(observed), ambiguous);
            }
            if step == NextStep::Compare {
                match self.is_ours(write).await? {
                    Some(true) => return Ok(Creation::Done),
                    Some(false) => return Ok(Creation::Exists),
                    None => step = NextStep::Retry,
                }
            }
            match step {
                NextStep::Exists => return Ok(Creation::Exists),
                NextStep::Retry => {
                    if retries.is_over()
                        && let Some(since) = deleted_since
                    {
                        let secret = secret.clone();
                        return Err(AwsError::ScheduledForDeletion { secret, since });
                    }
                    if !retries.wait(*deadline).await {
                        let is_taken = kind == CreateError::Taken && !ambiguous;
                        return if is_taken { Ok(Creation::Exists) } else { Err(error) };
                    }
                }
                NextStep::FailUnobserved => return Err(unobserved.unwrap_or(error)),
                NextStep::Fail | NextStep::Observe | NextStep::Compare => return Err(error),
            }
        }
    }

    /// Returns whether the stored secret is the one that was sent; none if no secret exists.
    async fn is_ours(&self, write: &Write<'_>) -> Result<Option<bool>, AwsError> {
        match self.current(&write.secret, write.deadline).await {
            Ok(current) => Ok(Some(current.value == *write.value)),
            Err(error) if error.has_code(NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the secret back, with the same request that every other server uses to read it.
    async fn read_back(&self, write: &Write<'_>) -> Result<Creation, AwsError> {
        let secret = || write.secret.clone();
        let mut retries = Retries::new(BACKOFF, REREADS_MAX);
        loop {
            match self.current(&write.secret, write.deadline).await {
                Ok(current) if current.value == *write.value => return Ok(Creation::Done),
                Ok(_) => return Err(AwsError::Changed { secret: secret() }),
                Err(error) if error.has_code(NOT_FOUND) => {
                    if !retries.wait(write.deadline).await {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use CreateError::{Ambiguous, Denied, Invalid, Refused, Taken, Throttled};

    const OBSERVED: [Observed; 5] = [
        Observed::Absent,
        Observed::Present,
        Observed::Deleted,
        Observed::Denied,
        Observed::Failed,
    ];

    /// Returns the steps for each of [`OBSERVED`], in its order.
    fn steps(error: CreateError, ambiguous: bool) -> [NextStep; 5] {
        OBSERVED.map(|observed| next_step(error, Some(observed), ambiguous))
    }

    #[test]
    fn throttling_is_retried_without_an_observation() {
        for ambiguous in [false, true] {
            assert_eq!(next_step(Throttled, None, ambiguous), NextStep::Retry);
        }
    }

    #[test]
    fn a_definite_error_is_returned_without_an_observation() {
        for ambiguous in [false, true] {
            assert_eq!(next_step(Refused, None, ambiguous), NextStep::Fail);
        }
    }

    #[test]
    fn a_denial_is_observed_because_the_name_may_be_taken() {
        use NextStep::{Exists, Fail};
        assert_eq!(next_step(Denied, None, false), NextStep::Observe);
        assert_eq!(steps(Denied, false), [Fail, Exists, Fail, Fail, Fail]);
    }

    #[test]
    fn a_denial_after_an_ambiguous_attempt_is_returned() {
        assert_eq!(next_step(Denied, None, true), NextStep::Fail);
    }

    #[test]
    fn a_taken_name_is_that_of_another_writer() {
        use NextStep::{Exists, Retry};
        assert_eq!(next_step(Taken, None, false), NextStep::Observe);
        assert_eq!(steps(Taken, false), [Retry, Exists, Retry, Exists, Exists]);
    }

    #[test]
    fn a_taken_name_after_an_ambiguous_attempt_may_be_ours() {
        use NextStep::{Compare, FailUnobserved, Retry};
        assert_eq!(next_step(Taken, None, true), NextStep::Observe);
        assert_eq!(steps(Taken, true), [Retry, Compare, Retry, Compare, FailUnobserved]);
    }

    #[test]
    fn an_invalid_request_waits_for_the_end_of_a_deletion() {
        use NextStep::{Fail, Retry};
        assert_eq!(next_step(Invalid, None, false), NextStep::Observe);
        assert_eq!(steps(Invalid, false), [Retry, Fail, Retry, Fail, Fail]);
    }

    #[test]
    fn an_invalid_request_after_an_ambiguous_attempt_may_be_about_our_secret() {
        use NextStep::{Compare, Fail, Retry};
        assert_eq!(next_step(Invalid, None, true), NextStep::Observe);
        assert_eq!(steps(Invalid, true), [Retry, Compare, Retry, Fail, Fail]);
    }

    #[test]
    fn an_ambiguous_attempt_is_observed_and_sent_again_or_compared() {
        use NextStep::{Compare, Fail, Retry};
        assert_eq!(next_step(Ambiguous, None, true), NextStep::Observe);
        assert_eq!(steps(Ambiguous, true), [Retry, Compare, Retry, Retry, Fail]);
    }

    #[test]
    fn a_taken_name_in_a_server_error_is_ambiguous() {
        let call = || crate::call::AwsCall::new("secretsmanager:CreateSecret", "s");
        for (status, ambiguous) in [(400, false), (500, true)] {
            let refusal = Refusal::new(call(), status, Some(EXISTS.to_owned()), "", None);
            let error = AwsError::Refused(Box::new(refusal));
            assert_eq!(CreateError::of(&error), Taken);
            assert_eq!(error.is_ambiguous(), ambiguous, "{status}");
        }
    }
}
