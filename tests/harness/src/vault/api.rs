//! The API of an `OpenBao`, over its local socket.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::Role;
use crate::connection::{Connection, Request};
use crate::dial::Proto;
use crate::payload::Payload;

/// A client of the API with one token, in one namespace.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
    token: String,
    namespace: Option<String>,
}

impl Api {
    pub(super) fn new(socket: &Path, token: &str) -> Self {
        Self { socket: socket.to_owned(), token: token.to_owned(), namespace: None }
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns a client in a namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// Returns a client with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Sends a request, with any answer.
    ///
    /// # Panics
    /// If there is none.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let stream = UnixStream::connect(&self.socket).await.expect("the socket is there");
        let mut connection = Connection::open(stream, Proto::H1).await.expect("a connection");
        let mut request = Request::new(method, &format!("/v1/{path}"));
        if !self.token.is_empty() {
            request = request.header("x-vault-token", &self.token);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if let Some(body) = body {
            request = request.payload(Payload::sized(body.to_string()));
        }
        let answer = connection.send(request).await;
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// Reads, with any answer.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, None).await
    }

    /// Writes, and asserts success.
    ///
    /// # Panics
    /// If there is none.
    pub async fn put(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("PUT", path, Some(body.clone())).await;
        assert!((200..300).contains(&status), "PUT {path} {body}: {status} {answer}");
        answer
    }

    /// Deletes, and asserts success.
    ///
    /// # Panics
    /// If there is none.
    pub async fn delete(&self, path: &str) {
        let (status, answer) = self.ask("DELETE", path, None).await;
        assert!((200..300).contains(&status), "DELETE {path}: {status} {answer}");
    }

    /// Mounts a K/V engine of that version.
    pub async fn mount_kv(&self, mount: &str, version: u8) {
        let options = json!({ "type": "kv", "options": { "version": version.to_string() } });
        self.put(&format!("sys/mounts/{mount}"), options).await;
        // A fresh engine of version 2 sets itself up at its first request.
        if version == 2 {
            self.settled(&format!("{mount}/config")).await;
        }
    }

    /// Mounts a transit engine with one key.
    pub async fn mount_transit(&self, mount: &str, key: &str) {
        self.put(&format!("sys/mounts/{mount}"), json!({ "type": "transit" })).await;
        self.put(&format!("{mount}/keys/{key}"), json!({})).await;
    }

    /// Writes a policy.
    pub async fn policy(&self, name: &str, rules: &str) {
        self.put(&format!("sys/policies/acl/{name}"), json!({ "policy": rules })).await;
    }

    /// Makes an `AppRole` with the policy of its own name and these settings, in a method that is
    /// mounted as `approle` if it is not yet.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn app_role(&self, name: &str, rules: &str, settings: Value) -> Role {
        let _ = self.ask("PUT", "sys/auth/approle", Some(json!({ "type": "approle" }))).await;
        self.policy(name, rules).await;
        let role = format!("auth/approle/role/{name}");
        let mut all = json!({ "token_policies": [name] });
        all.as_object_mut()
            .expect("an object")
            .extend(settings.as_object().cloned().unwrap_or_default());
        self.put(&role, all).await;
        let (_, answer) = self.get(&format!("{role}/role-id")).await;
        let id = answer["data"]["role_id"].as_str().expect("a role has an id").to_owned();
        let answer = self.put(&format!("{role}/secret-id"), json!({})).await;
        let secret = answer["data"]["secret_id"].as_str().expect("a secret id").to_owned();
        Role { name: name.to_owned(), id, secret }
    }

    async fn settled(&self, path: &str) {
        for _ in 0..super::POLLS_MAX {
            if self.get(path).await.0 == 200 {
                return;
            }
            tokio::time::sleep(super::POLL_INTERVAL).await;
        }
        panic!("{path} does not answer");
    }
}
