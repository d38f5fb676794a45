//! A K/V engine for keys, a role that may use it, and the configuration for both.

use serde_json::{Value, json};

use super::{Api, Bao};

/// An `AppRole`'s credentials.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name, and its policy's.
    pub name: String,
    /// The role's id.
    pub id: String,
    /// A secret id.
    pub secret: String,
}

/// The version of a K/V engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kv {
    /// Version 1.
    V1,
    /// Version 2.
    V2,
}

/// A folder of a K/V engine in an `OpenBao`, with a role that may use it.
#[derive(Clone, Debug)]
pub struct Engine {
    /// The engine's mount.
    pub mount: String,
    /// The engine's version.
    pub kv: Kv,
    /// The folder inside the mount.
    pub prefix: String,
    /// The role that may use it.
    pub role: Role,
    endpoint: String,
}

impl Kv {
    /// `v1` or `v2`, as the configuration has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// The least that a policy must allow below `<mount>/<prefix>`.
    pub fn rules(self, mount: &str, prefix: &str) -> String {
        let slash = if prefix.is_empty() { "" } else { "/" };
        let below = format!("{prefix}{slash}*");
        match self {
            Self::V1 => rule(&format!("{mount}/{below}"), &["create", "read", "delete", "list"]),
            Self::V2 => {
                rule(&format!("{mount}/data/{below}"), &["create", "read"])
                    + &rule(&format!("{mount}/metadata/{below}"), &["read", "delete", "list"])
            }
        }
    }
}

/// A rule of a policy.
pub fn rule(path: &str, capabilities: &[&str]) -> String {
    format!("path {path:?} {{ capabilities = {capabilities:?} }}\n")
}

impl Engine {
    /// Mounts an engine and makes a role that may use it. `settings` are the role's: `token_ttl`
    /// and the like.
    pub async fn new(bao: &Bao, mount: &str, kv: Kv, settings: Value) -> Self {
        let prefix = "keys";
        bao.root().mount_kv(mount, if kv == Kv::V1 { 1 } else { 2 }).await;
        let rules = kv.rules(mount, prefix);
        let role = bao.root().app_role(&format!("role-{mount}"), &rules, settings).await;
        Self {
            mount: mount.to_owned(),
            kv,
            prefix: prefix.to_owned(),
            role,
            endpoint: bao.endpoint(),
        }
    }

    /// Returns the same engine with another folder.
    #[must_use]
    pub fn at(&self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self.clone() }
    }

    /// Returns the section `keystore.vault` for this engine.
    pub fn keystore(&self) -> Value {
        json!({
            "endpoint": self.endpoint,
            "engine": self.mount,
            "version": self.kv.as_str(),
            "prefix": self.prefix,
            "approle": { "id": self.role.id, "secret": self.role.secret },
        })
    }

    /// Returns the path of a key's entry.
    pub fn path(&self, name: &str) -> String {
        let data = if self.kv == Kv::V2 { "/data" } else { "" };
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{data}/{}{slash}{name}", self.mount, self.prefix)
    }

    /// Returns the path of a key's metadata, in version 2.
    pub fn metadata(&self, name: &str) -> String {
        self.path(name).replacen("/data/", "/metadata/", 1)
    }

    /// Writes an entry without a key server.
    pub async fn put(&self, api: &Api, name: &str, data: Value) {
        let body = if self.kv == Kv::V2 { json!({ "data": data }) } else { data };
        api.put(&self.path(name), body).await;
    }

    /// Reads the data of an entry, if there is one.
    pub async fn get(&self, api: &Api, name: &str) -> Option<Value> {
        let (status, answer) = api.get(&self.path(name)).await;
        let data = if self.kv == Kv::V2 { &answer["data"]["data"] } else { &answer["data"] };
        (status == 200).then(|| data.clone())
    }
}
