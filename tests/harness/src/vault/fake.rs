//! A fake Vault with scripted answers, for behaviour that a real one cannot be made to show.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use crate::proxy::{Asked, Fault, Proxy, Reply};

/// A server that accepts every login, has an entry under every name and removes what it is asked to.
#[derive(Debug)]
pub struct FakeVault {
    front: Proxy,
    _back: Proxy,
}

impl FakeVault {
    /// Starts it.
    pub async fn start() -> Self {
        let back = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
        answer(&back, 200, r#"{"auth":{"client_token":"t","lease_duration":3600}}"#, |asked| {
            asked.path.ends_with("/approle/login")
        });
        answer(&back, 200, r#"{"data":{"path":"kv/","type":"kv","options":null}}"#, |asked| {
            asked.path.starts_with("/v1/sys/internal/ui/mounts/")
        });
        answer(&back, 204, "", |asked| asked.method == "DELETE");
        answer(&back, 200, r#"{"data":{}}"#, |_| true);
        Self { front: Proxy::to(back.address()).await, _back: back }
    }

    /// Returns the proxy in front of it, which records requests and injects faults.
    pub fn proxy(&self) -> &Proxy {
        &self.front
    }

    /// Returns the section `keystore.vault` for this fake.
    pub fn keystore(&self) -> Value {
        json!({
            "endpoint": self.front.url(),
            "engine": "kv",
            "version": "v1",
            "approle": { "id": "role", "secret": "secret" },
        })
    }
}

fn answer(
    proxy: &Proxy,
    status: u16,
    body: &'static str,
    when: impl Fn(&Asked) -> bool + Send + Sync + 'static,
) {
    proxy.inject(Fault::Answer(Reply::new(status, "application/json", body)), when);
}
