//! Accesses entries in a K/V engine of version 1, which has one value per entry and no
//! compare-and-set.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use kes_store::Deadline;
use kes_types::{KeyName, Secret};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use vaultrs::api::kv1::requests::{
    DeleteSecretRequest, GetSecretRequest, ListSecretRequest, SetSecretRequest,
};

use crate::error::VaultError;
use crate::http::request::VaultRequest;
use crate::http::timed_out;
use crate::key::entry;
use crate::key::mount::Mount;
use crate::key::{self, Creation};

/// How long after a write a concurrent write of another server may still arrive.
const SETTLING: Duration = Duration::from_millis(500);

/// The number of locks that names are distributed over.
const LOCKS: usize = 64;

/// A K/V engine of version 1.
///
/// Two servers that create the same name concurrently can both find that it does not exist; the
/// later write overwrites the earlier one. To detect this, the entry is read again after a delay.
/// The race is not closed: a server that is slower than the delay is not detected.
#[derive(Debug)]
pub(crate) struct Kv1 {
    mount: Arc<Mount>,
    creating: [Mutex<()>; LOCKS],
    hasher: RandomState,
}

impl Kv1 {
    pub(crate) fn new(mount: Arc<Mount>) -> Self {
        Self {
            mount,
            creating: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }
    }

    /// Reads the value of an entry; returns none if Vault reports that the entry does not exist.
    pub(crate) async fn read(
        &self,
        name: &KeyName,
        deadline: Deadline,
    ) -> Result<Option<Secret>, VaultError> {
        match self.find(name, deadline).await? {
            Some(data) => entry::value(name, &self.shown(name), data).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn create(
        &self,
        name: &KeyName,
        value: &str,
        deadline: Deadline,
    ) -> Result<Creation, VaultError> {
        let lock = usize::try_from(self.hasher.hash_one(name) % LOCKS as u64).unwrap_or(0);
        let call = VaultRequest::of(&SetSecretRequest {
            mount: self.mount.engine.clone(),
            path: self.mount.path(name.as_str()),
            data: entry::data(name, value).to_string().into_bytes(),
        })?
        .put();
        // Creations of the same name on this server are serialized.
        let Some(_turn) = deadline.run(self.creating[lock].lock()).await else {
            return Err(timed_out(&call));
        };
        // A read precedes each write, so that an entry that another writer created during the wait
        // is not overwritten.
        let written = loop {
            if self.find(name, deadline).await?.is_some() {
                return Ok(Creation::Exists);
            }
            let written = self.mount.session.ask(&call, deadline).await.and_then(key::accepted);
            let Err(error) = &written else { break written };
            let Some(wait) = error.undone_until() else { break written };
            if !deadline.wait(wait).await {
                break written;
            }
        };
        let unanswered = match written {
            Ok(_) => None,
            // Vault requires another capability to overwrite: another writer created the entry
            // first.
            Err(error @ VaultError::Denied { .. }) => {
                let is_taken = self.find(name, deadline).await?.is_some();
                return if is_taken { Ok(Creation::Exists) } else { Err(error) };
            }
            Err(error) if key::is_ambiguous(&error) => Some(error),
            Err(error) => return Err(error),
        };
        if !deadline.wait(SETTLING).await {
            return Err(timed_out(&call));
        }
        match self.find(name, deadline).await? {
            Some(data) if data == entry::data(name, value) => Ok(Creation::Done),
            Some(_) => Ok(Creation::Exists),
            None => {
                Err(unanswered.unwrap_or_else(|| VaultError::Vanished { path: self.shown(name) }))
            }
        }
    }

    /// Returns whether an entry exists.
    pub(crate) async fn exists(
        &self,
        name: &KeyName,
        deadline: Deadline,
    ) -> Result<bool, VaultError> {
        Ok(self.find(name, deadline).await?.is_some())
    }

    /// Returns the request that deletes an entry.
    pub(crate) fn removal(&self, name: &KeyName) -> Result<VaultRequest, VaultError> {
        let (mount, path) = (self.mount.engine.clone(), self.mount.path(name.as_str()));
        VaultRequest::of(&DeleteSecretRequest { mount, path })
    }

    /// Returns the request that lists the folder of keys.
    pub(crate) fn list(&self) -> Result<VaultRequest, VaultError> {
        let (mount, path) = (self.mount.engine.clone(), self.mount.prefix.clone());
        Ok(VaultRequest::of(&ListSecretRequest { mount, path })?.listing())
    }

    /// Returns the data of an entry; none if it does not exist.
    async fn find(&self, name: &KeyName, deadline: Deadline) -> Result<Option<Value>, VaultError> {
        if let Some(data) = look(&self.mount, name, deadline).await? {
            return Ok(Some(data));
        }
        match self.mount.confirm(deadline).await? {
            None => Ok(None),
            Some(active) => look(&active, name, deadline).await,
        }
    }

    fn shown(&self, name: &KeyName) -> String {
        format!("{}/{}", self.mount.engine, self.mount.path(name.as_str()))
    }
}

/// Returns the data of an entry, as known to the node that responds.
async fn look(
    mount: &Mount,
    name: &KeyName,
    deadline: Deadline,
) -> Result<Option<Value>, VaultError> {
    #[derive(Deserialize)]
    struct Entry {
        data: Value,
    }
    let path = mount.path(name.as_str());
    let call = VaultRequest::of(&GetSecretRequest { mount: mount.engine.clone(), path })?;
    let answer = mount.session.ask(&call, deadline).await?;
    if answer.is_success() {
        return Ok(Some(answer.parse::<Entry>()?.data));
    }
    if answer.is_absence() {
        return Ok(None);
    }
    if mount.is_of_version_2(&answer) {
        let engine = mount.engine.clone();
        return Err(VaultError::OtherVersion { engine, found: 2, configured: 1 });
    }
    Err(answer.into_error())
}

#[cfg(test)]
mod tests {
    use kes_config::KvVersion;

    use super::*;
    use crate::fake::{self, FakeResponse, Server};

    /// Creates `key` with the value `ours` on a fake that responds to the write and the read-back
    /// as given.
    async fn create(
        written: fn() -> FakeResponse,
        read_back: fn() -> FakeResponse,
    ) -> Result<Creation, VaultError> {
        let server = Server::start(move |line, before| match (line, before) {
            ("PUT /v1/auth/approle/login", _) => fake::token(),
            ("GET /v1/kv/key", 0) => fake::json(404, "", r#"{"errors":[]}"#),
            ("PUT /v1/kv/key", _) => written(),
            ("GET /v1/kv/key", _) => read_back(),
            _ => fake::json(200, "", r#"{"data":{"path":"kv/","type":"kv","options":null}}"#),
        })
        .await;
        let session = Arc::new(server.session());
        session.refresher.attempt().await.unwrap();
        let deadline = crate::http::deadline();
        let mount = Mount::new(session, "kv".to_owned(), KvVersion::V1, String::new());
        Kv1::new(Arc::new(mount)).create(&KeyName::parse("key").unwrap(), "ours", deadline).await
    }

    fn accepted() -> FakeResponse {
        fake::json(204, "", "")
    }

    fn ours() -> FakeResponse {
        fake::json(200, "", r#"{"data":{"key":"ours"}}"#)
    }

    fn theirs() -> FakeResponse {
        fake::json(200, "", r#"{"data":{"key":"theirs"}}"#)
    }

    fn nothing() -> FakeResponse {
        fake::json(404, "", r#"{"errors":[]}"#)
    }

    #[tokio::test]
    async fn what_is_read_back_decides_whether_the_key_is_ours() {
        assert_eq!(create(accepted, ours).await.unwrap(), Creation::Done);
        assert_eq!(create(accepted, theirs).await.unwrap(), Creation::Exists);
        let vanished = create(accepted, nothing).await.unwrap_err();
        assert!(matches!(vanished, VaultError::Vanished { .. }), "{vanished:?}");
    }

    #[tokio::test]
    async fn a_write_that_was_not_answered_is_looked_for() {
        assert_eq!(create(fake::hang_up, ours).await.unwrap(), Creation::Done);
        assert_eq!(create(fake::hang_up, theirs).await.unwrap(), Creation::Exists);
        let lost = create(fake::hang_up, nothing).await.unwrap_err();
        assert!(lost.is_transient(), "{lost:?}");
    }

    #[tokio::test]
    async fn what_was_created_while_vault_let_us_wait_is_not_overwritten() {
        let server = Server::start(|line, before| match (line, before) {
            ("PUT /v1/auth/approle/login", _) => fake::token(),
            ("GET /v1/kv/key", 0) => nothing(),
            ("GET /v1/kv/key", _) => theirs(),
            ("PUT /v1/kv/key", _) => fake::json(429, "Retry-After: 0\r\n", "{}"),
            _ => fake::json(200, "", r#"{"data":{"path":"kv/","type":"kv","options":null}}"#),
        })
        .await;
        let session = Arc::new(server.session());
        session.refresher.attempt().await.unwrap();
        let deadline = crate::http::deadline();
        let mount = Mount::new(session, "kv".to_owned(), KvVersion::V1, String::new());
        let kv = Kv1::new(Arc::new(mount));
        let name = KeyName::parse("key").unwrap();
        assert_eq!(kv.create(&name, "ours", deadline).await.unwrap(), Creation::Exists);
        let writes = server.seen().iter().filter(|seen| seen[0] == "PUT /v1/kv/key").count();
        assert_eq!(writes, 1);
    }
}
