//! Finds the active node of a Vault cluster, and follows redirects to it.

use http::{HeaderValue, StatusCode, header};
use kes_store::Deadline;
use reqwest::{Response, Url};
use serde::Deserialize;

use crate::error::VaultError;
use crate::http::request::VaultRequest;
use crate::http::{Sender, Transport, lock, parse, read};

/// The response of `sys/leader`: which node is active.
#[derive(Debug, Deserialize)]
struct Leader {
    #[serde(default)]
    ha_enabled: bool,
    #[serde(default)]
    is_self: bool,
    #[serde(default, rename = "leader_address")]
    address: String,
}

impl Transport {
    /// Returns a transport to the active node, if the endpoint is another node: a node that lags
    /// behind may report that an existing entry does not exist. Returns none if the endpoint is the
    /// active node or Vault has no cluster.
    pub(crate) async fn to_active(&self, deadline: Deadline) -> Result<Option<Self>, VaultError> {
        let call = VaultRequest::get("sys/leader");
        let answer = self.send(&call, Sender::default(), deadline).await?;
        if !answer.is_success() {
            return Err(answer.into_error());
        }
        let leader: Leader = answer.parse()?;
        if !leader.ha_enabled || leader.is_self {
            return Ok(None);
        }
        let base = parse(&self.base)?;
        let address = Url::parse(&leader.address).ok().filter(|to| !is_weaker(&base, to));
        let address = address.ok_or(VaultError::NoActiveNode(leader.address))?;
        let base = address.as_str().trim_end_matches('/').to_owned();
        Ok(Some(Self { base, ..self.clone() }))
    }

    /// Returns the target of a redirect, if it is a node of the same Vault: the host of the
    /// endpoint, or the active node that the endpoint names. The path must be the same, and the
    /// connection must not be less secure.
    pub(super) async fn redirected(
        &self,
        call: &VaultRequest,
        from: &Url,
        location: &HeaderValue,
    ) -> Result<Url, VaultError> {
        let shown = String::from_utf8_lossy(location.as_bytes()).into_owned();
        let refused = || VaultError::Redirected {
            target: call.target.clone(),
            location: shown.chars().take(200).collect(),
        };
        let to = from.join(&shown).map_err(|_| refused())?;
        if is_weaker(from, &to) || to.path() != from.path() || to.query() != from.query() {
            return Err(refused());
        }
        let is_known = |node: &Url| is_same_host(node, &to);
        let leader = || lock(&self.leader).clone();
        if is_known(&parse(&self.base)?) || leader().as_ref().is_some_and(is_known) {
            return Ok(to);
        }
        let named = self.ask_for_leader().await?;
        let is_leader = named.as_ref().is_some_and(is_known);
        *lock(&self.leader) = named;
        if is_leader { Ok(to) } else { Err(refused()) }
    }

    /// Returns the active node, as reported by the endpoint. The request needs no token, so none is
    /// sent.
    async fn ask_for_leader(&self) -> Result<Option<Url>, VaultError> {
        let call = VaultRequest::get("sys/leader");
        let url = parse(&call.url(&self.base))?;
        let answer = read(&call, self.request(&call, &url, Sender::default()).await?).await?;
        let leader: Leader = answer.parse()?;
        Ok(Url::parse(&leader.address).ok())
    }
}

/// Returns whether the token would be sent over a less secure connection.
fn is_weaker(here: &Url, there: &Url) -> bool {
    here.scheme() == "https" && there.scheme() != "https"
}

fn is_same_host(a: &Url, b: &Url) -> bool {
    a.host_str().is_some() && a.host_str() == b.host_str()
}

pub(super) fn redirection(response: &Response) -> Option<&HeaderValue> {
    match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
            response.headers().get(header::LOCATION)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, FakeResponse, Server};
    use crate::http::tests::{READ, lines, read_call, send};

    const LEADER: &str = "GET /v1/sys/leader";

    fn redirect(to: &str) -> FakeResponse {
        fake::json(307, &format!("Location: {to}\r\n"), "")
    }

    #[tokio::test]
    async fn a_standby_s_redirect_to_the_same_host_is_followed_with_the_token() {
        let active = Server::start(|_, _| fake::json(200, "", "{}")).await;
        let to = format!("http://{}/v1/kv/data/key", active.address);
        let standby = Server::start(move |_, _| redirect(&to)).await;
        assert_eq!(send(&standby, &read_call()).await.unwrap().status, 200);
        assert!(active.seen()[0].contains(&"x-vault-token: hunter2".to_owned()));
        assert_eq!(lines(&standby), [READ]);
    }

    #[tokio::test]
    async fn a_redirect_to_another_host_is_followed_only_to_the_node_that_vault_names() {
        for is_leader in [true, false] {
            let active = Server::start(|_, _| fake::json(200, "", "{}")).await;
            // This is the same machine under another host name than the endpoint.
            let other = format!("http://localhost:{}", active.address.port());
            let leader = if is_leader { other.clone() } else { "http://vault-2:8200".to_owned() };
            let standby = Server::start(move |line, _| match line {
                LEADER => fake::json(200, "", &format!(r#"{{"leader_address":"{leader}"}}"#)),
                _ => redirect(&format!("{other}/v1/kv/data/key")),
            })
            .await;
            let result = send(&standby, &read_call()).await;
            assert_eq!(result.is_ok(), is_leader, "{result:?}");
            assert_eq!(active.seen().len(), usize::from(is_leader));
            assert_eq!(lines(&standby), [READ, LEADER]);
            assert!(!standby.seen()[1].iter().any(|line| line.contains("hunter2")));
        }
    }

    #[tokio::test]
    async fn a_redirect_to_another_path_and_one_without_end_are_refused() {
        let elsewhere = Server::start(|_, _| redirect("/v1/sys/raw")).await;
        let error = send(&elsewhere, &read_call()).await.unwrap_err();
        assert!(matches!(error, VaultError::Redirected { .. }), "{error:?}");
        assert_eq!(lines(&elsewhere), [READ]);
        let circle = Server::start(|_, _| redirect("/v1/kv/data/key")).await;
        let error = send(&circle, &read_call()).await.unwrap_err();
        assert!(matches!(error, VaultError::Redirected { .. }), "{error:?}");
    }
}
