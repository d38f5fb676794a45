//! Whether AWS is there, knows us, and has the key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::AwsError;
use crate::kms::KmsKey;
use crate::manager::Manager;
use crate::refusal::Refusal;
use crate::session::Deadline;
use crate::{NOTICE, Warning};

/// How long a good answer is good for, unless a call fails.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// Looks at AWS's health.
#[derive(Debug, Default)]
pub(crate) struct Health {
    good: Mutex<Option<Good>>,
    /// Secrets Manager has given us what we asked for.
    was_allowed: AtomicBool,
}

/// A good answer.
#[derive(Clone, Copy, Debug)]
struct Good {
    at: Instant,
    latency: Duration,
}

impl Health {
    /// Asks Secrets Manager for something that only who is known gets, and KMS after the key.
    /// Returns how long Secrets Manager's answer took.
    pub(crate) async fn check(
        &self,
        manager: &Manager,
        kms_key: Option<&KmsKey>,
    ) -> Result<Duration, AwsError> {
        let session = &manager.session;
        let start = session.now();
        let is_in_doubt = session.take_doubt();
        let is_good = |good: &Good| start.saturating_duration_since(good.at) < GOOD_FOR;
        let known = *self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(good) = known.filter(is_good).filter(|_| !is_in_doubt) {
            return Ok(good.latency);
        }
        let deadline = Deadline::of_operation();
        let greeting = async {
            let answer = manager.greet(deadline).await;
            (answer, session.now().saturating_duration_since(start))
        };
        let key = async {
            match kms_key {
                Some(key) => {
                    if let Some(error) = key.check(session, deadline).await? {
                        let warning = Warning::hidden(key, error);
                        let cause = &warning as &dyn std::error::Error;
                        tracing::warn!(target: NOTICE, cause, "the KMS key is not looked at");
                    }
                    Ok(())
                }
                None => Ok(()),
            }
        };
        let ((answer, latency), key) = tokio::join!(greeting, key);
        self.was_allowed.fetch_or(answer.is_ok(), Ordering::Relaxed);
        let verdict = match answer {
            // Who may not list is known all the same, if it never could and keys can be read.
            Err(error)
                if error.refusal().is_some_and(Refusal::is_denial)
                    && !self.was_allowed.load(Ordering::Relaxed)
                    && !session.is_read_denied() =>
            {
                key
            }
            answer => answer.and(key),
        };
        let good = verdict.is_ok().then_some(Good { at: start, latency });
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = good;
        verdict.map(|()| latency)
    }
}
