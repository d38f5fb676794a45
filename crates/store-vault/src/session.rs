//! Requests in our name: with a token, asked again where that helps.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::answer::Answer;
use crate::call::Call;
use crate::error::VaultError;
use crate::keeper::{Held, Keeper, Verdict};
use crate::transport::{Deadline, Sender, Transport};

/// Requests for one and the same thing.
const ATTEMPTS_MAX: u32 = 8;

/// How long a node that has not yet seen our token or our last write is given, at first.
const BEHIND_WAIT: Duration = Duration::from_millis(50);

/// Vault as our token sees it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) transport: Arc<Transport>,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) namespace: Option<HeaderValue>,
}

impl Session {
    /// The end of an operation that starts now.
    pub(crate) fn deadline(&self) -> Deadline {
        self.transport.deadline()
    }

    /// Sends a request. What comes back is an answer about the matter: a success, or a 4xx other
    /// than 403 and 429. A token that is not accepted is replaced and the request sent again; so is
    /// one that Vault asks to send later, where there is time.
    pub(crate) async fn ask(&self, call: &Call, deadline: Deadline) -> Result<Answer, VaultError> {
        let mut attempt = 0;
        loop {
            let held = self.keeper.token(deadline).await?;
            let answer = self.send(call, &held, deadline).await?;
            let is_last = attempt >= ATTEMPTS_MAX;
            match answer.status {
                403 => {
                    let verdict = self.keeper.judge(&held, attempt, deadline).await?;
                    if verdict == Verdict::Denied || is_last {
                        return Err(self.denied(call));
                    }
                }
                412 | 429 | 503 => {
                    let wait = match answer.retry_after {
                        Some(wait) => wait,
                        None if answer.status == 412 => BEHIND_WAIT * 2_u32.pow(attempt.min(6)),
                        None => return Err(answer.into_error()),
                    };
                    if is_last || !self.transport.wait(wait, deadline).await {
                        return Err(answer.into_error());
                    }
                }
                400..500 => return Ok(answer),
                _ if answer.is_success() => return Ok(answer),
                _ => return Err(answer.into_error()),
            }
            attempt += 1;
        }
    }

    /// Sends a request once and brings any answer; for what is nice to know.
    pub(crate) async fn ask_once(
        &self,
        call: &Call,
        deadline: Deadline,
    ) -> Result<Answer, VaultError> {
        let held = self.keeper.token(deadline).await?;
        self.send(call, &held, deadline).await
    }

    /// The error of a request that the token's policies do not allow.
    pub(crate) fn denied(&self, call: &Call) -> VaultError {
        VaultError::Denied {
            path: call.target.path.clone(),
            role: self.keeper.role(),
            capability: call.capability,
        }
    }

    async fn send(
        &self,
        call: &Call,
        held: &Held,
        deadline: Deadline,
    ) -> Result<Answer, VaultError> {
        let sender =
            Sender { token: Some(held.token.header()), namespace: self.namespace.as_ref() };
        self.transport.send(call, sender, deadline).await
    }
}
