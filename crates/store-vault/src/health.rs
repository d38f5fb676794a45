//! Probes the health of Vault with `sys/health`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kes_types::Clock;
use serde::Deserialize;
use vaultrs::api::sys::requests::ReadHealthRequest;

use crate::auth::session::VaultSession;
use crate::error::VaultError;
use crate::http;
use crate::http::Sender;
use crate::http::request::VaultRequest;
use crate::http::response::VaultResponse;

/// Probes the health of Vault, and notifies the token refresher when Vault has recovered.
#[derive(Debug)]
pub(crate) struct Health {
    clock: Arc<dyn Clock>,
    was_bad: AtomicBool,
}

/// The relevant fields of the response. The type of `vaultrs` requires fields that `OpenBao` does
/// not send.
#[derive(Debug, Default, Deserialize)]
struct Report {
    initialized: Option<bool>,
    sealed: Option<bool>,
}

impl Health {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, was_bad: AtomicBool::new(false) }
    }

    /// Sends a health probe, without a token and without a namespace, and then requires a valid
    /// token: keys are not accessible without one, even if Vault is healthy. Returns how long the
    /// probe took.
    pub(crate) async fn check(&self, session: &VaultSession) -> Result<Duration, VaultError> {
        let deadline = http::deadline();
        let call = VaultRequest::of(&ReadHealthRequest::default())?;
        let start = self.clock.monotonic();
        let answer = session.transport.send(&call, Sender::default(), deadline).await;
        let verdict = answer.and_then(|answer| judge(&answer));
        let was_bad = self.was_bad.swap(verdict.is_err(), Ordering::Relaxed);
        verdict?;
        let latency = self.clock.monotonic().saturating_duration_since(start);
        if was_bad {
            session.refresher.recovered();
        }
        session.refresher.unsuspected_token(deadline).await?;
        Ok(latency)
    }
}

/// Classifies the response. An active node (200), a standby (429) and a performance standby (473)
/// all serve requests, directly or by forwarding them.
fn judge(answer: &VaultResponse) -> Result<(), VaultError> {
    let report: Report = answer.parse().unwrap_or_default();
    if report.initialized == Some(false) || answer.status == 501 {
        return Err(VaultError::NotInitialised);
    }
    if report.sealed == Some(true) {
        return Err(VaultError::Sealed);
    }
    match answer.status {
        200..300 | 429 | 473 => Ok(()),
        472 => Err(VaultError::DisasterRecoverySecondary),
        status => Err(VaultError::Unavailable {
            target: answer.target.clone(),
            status,
            errors: answer.reasons(),
            retry_after: answer.retry_after,
        }),
    }
}

#[cfg(test)]
mod tests {
    use ::http::Method;
    use kes_types::SystemClock;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::fake::{self, Server};
    use crate::http::request::RequestTarget;

    #[tokio::test]
    async fn a_vault_that_is_healthy_again_ends_every_wait_for_a_login() {
        let sealed = r#"{"initialized":true,"sealed":true,"errors":["Vault is sealed"]}"#;
        let server = Server::start(move |line, before| match (line, before) {
            ("GET /v1/sys/health" | "PUT /v1/auth/approle/login", 0) => {
                fake::json(429, "Retry-After: 3600\r\n", sealed)
            }
            ("PUT /v1/auth/approle/login", _) => fake::token(),
            _ => fake::json(200, "", r#"{"initialized":true,"sealed":false}"#),
        })
        .await;
        let (session, health) = (server.session(), Health::new(Arc::new(SystemClock)));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        assert!(session.refresher.attempt().await.is_err());
        tasks.spawn(Arc::clone(&session.refresher).run(stop.clone()));
        assert!(health.check(&session).await.unwrap_err().is_transient());
        health.check(&session).await.unwrap();
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }

    #[test]
    fn any_client_serves_requests_is_healthy() {
        let good = r#"{"initialized":true,"sealed":false}"#;
        for (status, body, words) in [
            (200, good, ""),
            (200, "", ""),
            (429, good, ""),
            (473, good, ""),
            (503, r#"{"initialized":true,"sealed":true}"#, "Vault is sealed"),
            (503, "<html>", "GET sys/health was answered with HTTP 503: no reason given"),
            (501, r#"{"initialized":false,"sealed":true}"#, "Vault is not initialised"),
            (
                472,
                good,
                "this Vault node is a secondary for disaster recovery and answers no requests",
            ),
            (502, "<html>", "GET sys/health was answered with HTTP 502: no reason given"),
        ] {
            let answer = VaultResponse {
                target: RequestTarget { method: Method::GET, path: "sys/health".to_owned() },
                status,
                retry_after: None,
                body: body.to_owned().into(),
            };
            let said = judge(&answer).map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(said, words, "{status} {body}");
        }
    }
}
