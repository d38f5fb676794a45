//! Sends requests with the token, and retries them where that helps.

use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderValue;

use crate::auth::token_refresher::{Held, TokenRefresher, Verdict};
use crate::error::VaultError;
use crate::http::request::VaultRequest;
use crate::http::response::VaultResponse;
use crate::http::{Sender, Transport};
use kes_store::{Backoff, Deadline};

/// The maximum number of attempts of a request.
const ATTEMPTS_MAX: u32 = 12;

/// The waits for a node that lags behind, so that it does not know the token or the last write yet.
const BEHIND: Backoff = Backoff {
    first: Duration::from_millis(50),
    max: Duration::from_millis(3200),
    jitter_share: 0.0,
};

/// Sends requests to Vault with the current token.
#[derive(Debug)]
pub(crate) struct VaultSession {
    pub(crate) transport: Arc<Transport>,
    pub(crate) refresher: Arc<TokenRefresher>,
    pub(crate) namespace: Option<HeaderValue>,
}

impl VaultSession {
    /// Sends a request, and returns a success or a definite 4xx, other than 403 and 429. If the
    /// request is repeatable and the token is rejected, the token is replaced and the request is
    /// sent again. A repeatable request is also sent again if Vault requests a later retry and the
    /// deadline allows it.
    pub(crate) async fn ask(
        &self,
        call: &VaultRequest,
        deadline: Deadline,
    ) -> Result<VaultResponse, VaultError> {
        let (mut attempt, mut refused) = (0, None);
        loop {
            let held = match refused {
                None => self.refresher.token(deadline).await?,
                Some(generation) => self.refresher.token_after(generation, deadline).await?,
            };
            let answer = self.send(call, &held, deadline).await?;
            let is_last = attempt >= ATTEMPTS_MAX || !call.is_repeatable;
            match answer.status {
                403 if answer.is_foreign() => return Err(answer.into_error()),
                403 => match self.refresher.judge(&held, attempt, deadline).await? {
                    Verdict::Denied => return Err(self.denied(call)),
                    _ if !call.is_repeatable => {
                        return Err(VaultError::TokenReplaced(call.target.clone()));
                    }
                    _ if is_last => return Err(self.denied(call)),
                    Verdict::Again => refused = None,
                    Verdict::AgainAfter(generation) => refused = Some(generation),
                },
                412 | 429 | 503 => {
                    let wait = match answer.retry_after {
                        Some(wait) => wait,
                        None if answer.status == 412 => BEHIND.delay(attempt, 0.0),
                        None => return Err(answer.into_error()),
                    };
                    if is_last || !deadline.wait(wait).await {
                        return Err(answer.into_error());
                    }
                }
                200..300 | 400..500 => {
                    if attempt > 0 {
                        self.refresher.login_helped();
                    }
                    return Ok(answer);
                }
                _ => return Err(answer.into_error()),
            }
            attempt += 1;
        }
    }

    /// Sends a request once, and returns any response; for optional information.
    pub(crate) async fn ask_once(
        &self,
        call: &VaultRequest,
        deadline: Deadline,
    ) -> Result<VaultResponse, VaultError> {
        let held = self.refresher.token(deadline).await?;
        self.send(call, &held, deadline).await
    }

    /// Returns the error of a request that the policies of the token do not allow.
    pub(crate) fn denied(&self, call: &VaultRequest) -> VaultError {
        VaultError::Denied {
            path: call.target.path.clone(),
            role: self.refresher.role(),
            capability: call.capability,
        }
    }

    async fn send(
        &self,
        call: &VaultRequest,
        held: &Held,
        deadline: Deadline,
    ) -> Result<VaultResponse, VaultError> {
        let sender =
            Sender { token: Some(held.token.header()), namespace: self.namespace.as_ref() };
        self.transport.send(call, sender, deadline).await
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::fake::{self, Server, token};

    const READ: &str = "GET /v1/kv/x";
    const LOGIN: &str = "PUT /v1/auth/approle/login";
    const LOOKUP: &str = "GET /v1/auth/token/lookup-self";

    async fn ask(server: &Server) -> Result<VaultResponse, VaultError> {
        let session = server.session();
        session.refresher.attempt().await.unwrap();
        session.ask(&VaultRequest::get("kv/x"), crate::http::deadline()).await
    }

    fn count(server: &Server, line: &str) -> usize {
        server.seen().iter().filter(|request| request[0] == line).count()
    }

    #[tokio::test]
    async fn what_vault_wants_asked_later_is_asked_later_where_there_is_time() {
        for status in [429, 503] {
            let server = Server::start(move |line, before| match (line, before) {
                (LOGIN, _) => token(),
                (_, 0 | 1) => fake::json(status, "Retry-After: 0\r\n", "{}"),
                _ => fake::json(200, "", "{}"),
            })
            .await;
            assert_eq!(ask(&server).await.unwrap().status, 200);
            assert_eq!(count(&server, READ), 3);
        }
        let server = Server::start(|line, _| match line {
            LOGIN => token(),
            _ => fake::json(429, "Retry-After: 3600\r\n", "{}"),
        })
        .await;
        let error = ask(&server).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
        assert_eq!(count(&server, READ), 1);
    }

    #[tokio::test]
    async fn a_node_that_does_not_know_a_fresh_token_yet_is_asked_again() {
        let server = Server::start(|line, before| match (line, before) {
            (LOGIN, _) => token(),
            (LOOKUP, _) | (_, 0) => fake::json(403, "", r#"{"errors":["permission denied"]}"#),
            _ => fake::json(200, "", "{}"),
        })
        .await;
        assert_eq!(ask(&server).await.unwrap().status, 200);
        assert_eq!((count(&server, READ), count(&server, LOGIN)), (2, 1));
    }

    #[tokio::test]
    async fn a_proxy_s_denial_costs_no_token_and_passes() {
        let server = Server::start(|line, _| match line {
            LOGIN => token(),
            _ => fake::json(403, "", "<html>come back later</html>"),
        })
        .await;
        assert!(ask(&server).await.unwrap_err().is_transient());
        assert_eq!((count(&server, READ), count(&server, LOGIN)), (1, 1));
        assert_eq!(count(&server, LOOKUP), 0);
    }

    #[tokio::test]
    async fn a_denial_of_a_token_that_vault_knows_is_final() {
        let server = Server::start(|line, _| match line {
            LOGIN => token(),
            LOOKUP => fake::json(200, "", "{}"),
            _ => fake::json(403, "", r#"{"errors":["permission denied"]}"#),
        })
        .await;
        let error = ask(&server).await.unwrap_err();
        let words = "permission denied on kv/x: the AppRole's policy lacks 'read'";
        assert_eq!(error.to_string(), words);
        assert_eq!((count(&server, READ), count(&server, LOGIN)), (1, 1));
    }

    #[tokio::test]
    async fn a_request_that_changes_something_is_sent_once() {
        for (status, header) in
            [(503, "Retry-After: 0\r\n"), (429, "Retry-After: 0\r\n"), (403, "")]
        {
            let server = Server::start(move |line, _| match line {
                LOGIN => token(),
                LOOKUP => fake::json(403, "", r#"{"errors":["permission denied"]}"#),
                _ => fake::json(status, header, r#"{"errors":["later"]}"#),
            })
            .await;
            let session = server.session();
            session.refresher.attempt().await.unwrap();
            let mut call = VaultRequest::get("kv/x").put();
            call.is_repeatable = false;
            assert!(session.ask(&call, crate::http::deadline()).await.unwrap_err().is_transient());
            assert_eq!(count(&server, "PUT /v1/kv/x"), 1);
        }
    }

    #[tokio::test]
    async fn a_denial_that_may_be_the_token_s_fault_does_not_end_a_token_that_works() {
        let server = Server::start(|line, before| match (line, before) {
            (LOGIN, 0) => token(),
            (LOGIN, _) => fake::json(400, "", r#"{"errors":["invalid role or secret ID"]}"#),
            (READ | LOOKUP, _) => fake::json(403, "", r#"{"errors":["permission denied"]}"#),
            _ => fake::json(200, "", "{}"),
        })
        .await;
        let session = server.session();
        session.refresher.attempt().await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(Arc::clone(&session.refresher).run(stop.clone()));
        let error =
            session.ask(&VaultRequest::get("kv/x"), crate::http::deadline()).await.unwrap_err();
        assert!(matches!(error, VaultError::NoToken(_)), "{error:?}");
        let other =
            session.ask(&VaultRequest::get("kv/other"), crate::http::deadline()).await.unwrap();
        assert_eq!(other.status, 200);
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }
}
