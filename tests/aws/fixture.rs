//! Test fixture: an AWS emulator behind a proxy, and the setup of servers that keep their keys in it.

use kes_harness::aws::{Api, Moto, Signer, error, is_action, moto, verify};
use kes_harness::proxy::{Asked, Proxy};
use kes_harness::{Answer, Connection, Server, Setup, vectors};
use serde_json::{Value, json};
use time::OffsetDateTime;

pub(crate) const REGION: &str = "eu-central-1";
pub(crate) const KEY_ID: &str = "AKIAKESTESTS00000001";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYTESTSECRET";

/// What a test of the AWS store needs.
pub(crate) struct Fixture {
    pub(crate) moto: Moto,
    pub(crate) proxy: Proxy,
    pub(crate) setup: Setup,
}

impl Fixture {
    /// A moto, and servers whose calls go through a proxy that checks every signature; none if there
    /// is no moto on this machine. Nothing is cached, so that every request reaches AWS.
    pub(crate) async fn new() -> Option<Self> {
        Self::with(json!({})).await
    }

    /// The same with more in the section `keystore.aws.secretsmanager`.
    pub(crate) async fn with(more: Value) -> Option<Self> {
        let moto = Moto::start(&moto()?).await;
        let proxy = Proxy::to(moto.address()).await;
        // Its check that a name is free and its taking of it are two steps.
        proxy.one_at_a_time(|asked| is_action(asked, "CreateSecret"));
        demand_signatures(&proxy, signer());
        let setup = Setup::new().aws(keystore(&proxy, more)).uncached();
        Some(Self { moto, proxy, setup })
    }

    /// A setup of its own, for another server, with more in the section.
    pub(crate) fn another(&self, more: Value) -> Setup {
        Setup::new().aws(keystore(&self.proxy, more)).uncached()
    }

    /// What lies in AWS, past the proxy.
    pub(crate) fn api(&self) -> Api {
        self.moto.api()
    }

    /// A connection of the admin.
    pub(crate) async fn admin(&self, server: &Server) -> Connection {
        server.connect(self.setup.admin()).await
    }
}

/// The section `keystore.aws.secretsmanager` that leads to a proxy.
pub(crate) fn keystore(proxy: &Proxy, more: Value) -> Value {
    let mut section = json!({
        "endpoint": proxy.url(),
        "region": REGION,
        "credentials": { "accesskey": KEY_ID, "secretkey": SECRET },
    });
    for (field, value) in more.as_object().expect("an object") {
        section[field] = value.clone();
    }
    section
}

/// Who the servers of these tests are.
pub(crate) fn signer() -> Signer {
    Signer {
        key_id: KEY_ID.to_owned(),
        secret: SECRET.to_owned(),
        token: None,
        region: REGION.to_owned(),
    }
}

/// Lets only signed requests through, from now on.
pub(crate) fn demand_signatures(proxy: &Proxy, signer: Signer) {
    let demand = move |asked: &Asked| verify(asked, &signer, OffsetDateTime::now_utc());
    proxy.demand(error::bad_signature(), demand);
}

/// Requests for an action.
pub(crate) fn action(name: &'static str) -> impl Fn(&Asked) -> bool + Send + Sync + 'static {
    move |asked| is_action(asked, name)
}

/// Requests for an action on one secret or key, by its name or the ARN with it.
pub(crate) fn action_on(
    name: &'static str,
    resource: &str,
) -> impl Fn(&Asked) -> bool + Send + Sync + 'static {
    let resource = resource.to_owned();
    move |asked| {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let is_it = |id: &str| {
            // Six characters of AWS's own end the ARN of a secret.
            let of_arn = id.rsplit_once(":secret:").and_then(|(_, rest)| rest.rsplit_once('-'));
            id == resource || of_arn.is_some_and(|(name, _)| name == resource)
        };
        let fields = ["Name", "SecretId", "KeyId"].into_iter();
        is_action(asked, name) && fields.filter_map(|field| body[field].as_str()).any(is_it)
    }
}

/// Creates a key; any answer will do.
pub(crate) async fn create(connection: &mut Connection, name: &str) -> Answer {
    connection.call("PUT", &format!("/v1/key/create/{name}")).await
}

/// Deletes a key; any answer will do.
pub(crate) async fn delete(connection: &mut Connection, name: &str) -> Answer {
    connection.call("DELETE", &format!("/v1/key/delete/{name}")).await
}

/// The names of keys that start like that, in the order of the answer.
pub(crate) async fn names(connection: &mut Connection, start: &str) -> Vec<String> {
    let listed = connection.get(&format!("/v1/key/list/{start}")).await.ok().json();
    let names = listed["names"].as_array().expect("names");
    names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// The value of a key as KES left it in AWS.
pub(crate) fn stored() -> String {
    vectors::aws_secret().value
}
