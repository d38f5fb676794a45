//! Accesses entries in a K/V engine of version 2: the key is always version 1 of its entry.

use std::sync::Arc;

use kes_store::Deadline;
use kes_types::{KeyName, Secret};
use serde::Deserialize;
use serde_json::Value;
use vaultrs::api::kv2::requests::{
    DeleteSecretMetadataRequest, ListSecretsRequest, ReadSecretMetadataRequest, ReadSecretRequest,
    SetSecretRequest, SetSecretRequestOptions,
};

use crate::error::VaultError;
use crate::http::request::VaultRequest;
use crate::http::response::VaultResponse;
use crate::key::entry;
use crate::key::mount::Mount;
use crate::key::{self, Creation};

/// The version that holds the key.
const VERSION: u64 = 1;

/// The maximum number of observations of an entry that changes while it is observed.
const LOOKS_MAX: usize = 4;

/// A K/V engine of version 2.
#[derive(Debug)]
pub(crate) struct Kv2 {
    mount: Arc<Mount>,
}

/// A version of an entry, as in the field `data` of a response.
#[derive(Debug, Deserialize)]
struct Version {
    data: Option<Value>,
    metadata: Option<Metadata>,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    version: u64,
    #[serde(default)]
    deletion_time: String,
    #[serde(default)]
    destroyed: bool,
}

/// The state of the first version of an entry.
#[derive(Debug)]
enum Found {
    /// The version exists, with this data.
    Live(Value),
    /// The entry does not exist.
    Absent,
    /// The entry exists, but this version cannot be read, for this reason.
    Gone(VaultError),
}

/// The versions of an entry, as shown by its metadata.
#[derive(Debug, PartialEq, Eq)]
enum Versions {
    /// The entry does not exist.
    None,
    /// The entry has a first version.
    First,
    /// The entry exists, and has no first version any more.
    Others,
    /// The entry exists, and never had a version.
    Never,
}

impl Kv2 {
    pub(crate) fn new(mount: Arc<Mount>) -> Self {
        Self { mount }
    }

    /// Reads the value of a key; returns none if Vault reports that the entry does not exist.
    pub(crate) async fn read(
        &self,
        name: &KeyName,
        deadline: Deadline,
    ) -> Result<Option<Secret>, VaultError> {
        match self.find(name, deadline).await? {
            Found::Live(data) => entry::value(name, &self.data_path(name), data).map(Some),
            Found::Absent => Ok(None),
            Found::Gone(error) => Err(error),
        }
    }

    pub(crate) async fn create(
        &self,
        name: &KeyName,
        value: &str,
        deadline: Deadline,
    ) -> Result<Creation, VaultError> {
        let call = VaultRequest::of(&SetSecretRequest {
            mount: self.mount.engine.clone(),
            path: self.mount.path(name.as_str()),
            data: entry::data(name, value),
            options: Some(SetSecretRequestOptions { cas: 0 }),
        })?
        .put()
        // A repeated request has no effect, because of `cas`.
        .repeatable();
        // Vault checks the policy before `cas`. For an existing entry that would need a capability
        // that is not needed otherwise, so this checks first whether the entry exists.
        if self.first_version(name, deadline).await?.is_success() {
            return Ok(Creation::Exists);
        }
        let failure = match self.mount.session.ask(&call, deadline).await {
            Ok(answer) if answer.is_success() => {
                return self.written(name, &answer, deadline).await;
            }
            // Another writer created the entry first, or it has deleted versions.
            Ok(answer) if answer.says("check-and-set") => {
                VaultError::Vanished { path: self.data_path(name) }
            }
            Ok(answer) => return Err(answer.into_error()),
            Err(error @ VaultError::Denied { .. }) => error,
            Err(error) if key::is_ambiguous(&error) => {
                // The write may have taken effect; then the entry has this value.
                return match self.find(name, deadline).await {
                    Ok(Found::Live(data)) if data == entry::data(name, value) => Ok(Creation::Done),
                    Ok(Found::Live(_)) => Ok(Creation::Exists),
                    Ok(Found::Absent | Found::Gone(_)) | Err(_) => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        match self.find(name, deadline).await? {
            // An earlier attempt has written it.
            Found::Live(data) if data == entry::data(name, value) => Ok(Creation::Done),
            Found::Live(_) => Ok(Creation::Exists),
            Found::Gone(error) => Err(error),
            Found::Absent => Err(failure),
        }
    }

    /// Returns whether an entry exists, with any versions.
    pub(crate) async fn exists(
        &self,
        name: &KeyName,
        deadline: Deadline,
    ) -> Result<bool, VaultError> {
        if self.versions(name, deadline).await? != Versions::None {
            return Ok(true);
        }
        match self.mount.confirm(deadline).await? {
            None => Ok(false),
            Some(active) => {
                let versions = Self::new(active).versions(name, deadline).await?;
                Ok(versions != Versions::None)
            }
        }
    }

    /// Returns the request that deletes an entry with all versions.
    pub(crate) fn removal(&self, name: &KeyName) -> Result<VaultRequest, VaultError> {
        let (mount, path) = self.place(name);
        VaultRequest::of(&DeleteSecretMetadataRequest { mount, path })
    }

    /// Returns the request that lists the folder of keys.
    pub(crate) fn list(&self) -> Result<VaultRequest, VaultError> {
        let (mount, path) = (self.mount.engine.clone(), self.mount.prefix.clone());
        Ok(VaultRequest::of(&ListSecretsRequest { mount, path })?.listing())
    }

    /// Checks the response to a write: the version must be the first one and permanent. A version
    /// that Vault will delete is removed, if the policies allow it, because data encrypted with the
    /// key would be lost with it.
    async fn written(
        &self,
        name: &KeyName,
        answer: &VaultResponse,
        deadline: Deadline,
    ) -> Result<Creation, VaultError> {
        let metadata: Metadata = answer.data()?;
        if metadata.version != VERSION {
            return Err(answer.not_understood());
        }
        if metadata.deletion_time.is_empty() {
            return Ok(Creation::Done);
        }
        let is_removed = self.mount.remove(&self.removal(name)?, deadline).await.unwrap_or(false);
        let (path, at) = (self.data_path(name), metadata.deletion_time);
        Err(if is_removed {
            VaultError::TakenBack { path, at }
        } else {
            VaultError::Ephemeral { path, at }
        })
    }

    async fn find(&self, name: &KeyName, deadline: Deadline) -> Result<Found, VaultError> {
        let found = self.look(name, deadline).await?;
        if !matches!(found, Found::Absent) {
            return Ok(found);
        }
        match self.mount.confirm(deadline).await? {
            None => Ok(Found::Absent),
            Some(active) => Self::new(active).look(name, deadline).await,
        }
    }

    /// Returns the state of the first version, as known to the node that responds.
    async fn look(&self, name: &KeyName, deadline: Deadline) -> Result<Found, VaultError> {
        for _ in 0..LOOKS_MAX {
            let answer = self.first_version(name, deadline).await?;
            if !answer.is_absence() {
                return self.version(name, answer);
            }
            match self.versions(name, deadline).await? {
                Versions::None => return Ok(Found::Absent),
                // The entry was created in the meantime.
                Versions::First => {}
                Versions::Others => {
                    return Ok(Found::Gone(VaultError::Pruned { path: self.data_path(name) }));
                }
                Versions::Never => {
                    return Ok(Found::Gone(VaultError::Bare { path: self.data_path(name) }));
                }
            }
        }
        Err(VaultError::Vanished { path: self.data_path(name) })
    }

    async fn first_version(
        &self,
        name: &KeyName,
        deadline: Deadline,
    ) -> Result<VaultResponse, VaultError> {
        let (mount, path) = self.place(name);
        let call = VaultRequest::of(&ReadSecretRequest { mount, path, version: Some(VERSION) })?;
        self.mount.session.ask(&call, deadline).await
    }

    /// Extracts the first version from a response.
    fn version(&self, name: &KeyName, answer: VaultResponse) -> Result<Found, VaultError> {
        let path = self.data_path(name);
        if answer.status == 404 {
            let version = answer.data::<Version>().ok();
            return match version.and_then(|version| version.metadata) {
                Some(metadata) if metadata.destroyed => {
                    Ok(Found::Gone(VaultError::Destroyed { path }))
                }
                Some(Metadata { deletion_time: at, .. }) if !at.is_empty() => {
                    Ok(Found::Gone(VaultError::SoftDeleted { path, at }))
                }
                _ => Err(answer.into_error()),
            };
        }
        if !answer.is_success() {
            return Err(answer.into_error());
        }
        let version: Version = answer.data()?;
        let metadata = version.metadata.unwrap_or_default();
        let (Some(data), VERSION) = (version.data, metadata.version) else {
            return Err(answer.not_understood());
        };
        if !metadata.deletion_time.is_empty() {
            let at = metadata.deletion_time.as_str();
            tracing::error!(
                path,
                at,
                "Vault will erase this key by itself (delete_version_after): remove that setting \
                 and write the key anew"
            );
        }
        Ok(Found::Live(data))
    }

    /// Returns which versions an entry has: from its metadata, or from its latest version if the
    /// policies do not allow access to the metadata.
    async fn versions(&self, name: &KeyName, deadline: Deadline) -> Result<Versions, VaultError> {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            current_version: u64,
            versions: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
        }
        let (mount, path) = self.place(name);
        let call = VaultRequest::of(&ReadSecretMetadataRequest { mount, path })?;
        let answer = self.mount.session.ask_once(&call, deadline).await?;
        if answer.status == 403 {
            return self.latest(name, deadline).await;
        }
        if answer.is_absence() {
            return Ok(Versions::None);
        }
        if !answer.is_success() {
            return Err(answer.into_error());
        }
        let entry: Entry = answer.data()?;
        Ok(if entry.versions.contains_key(&VERSION.to_string()) {
            Versions::First
        } else if entry.versions.is_empty() && entry.current_version == 0 {
            Versions::Never
        } else {
            Versions::Others
        })
    }

    /// Determines the versions of an entry from its latest version. An entry without versions
    /// counts as absent, because it never had a value.
    async fn latest(&self, name: &KeyName, deadline: Deadline) -> Result<Versions, VaultError> {
        let (mount, path) = self.place(name);
        let call = VaultRequest::of(&ReadSecretRequest { mount, path, version: None })?;
        let answer = self.mount.session.ask(&call, deadline).await?;
        if answer.is_absence() {
            return Ok(Versions::None);
        }
        if !answer.is_success() && answer.status != 404 {
            return Err(answer.into_error());
        }
        let Ok(Version { metadata: Some(metadata), .. }) = answer.data() else {
            return Err(answer.into_error());
        };
        Ok(if metadata.version == VERSION { Versions::First } else { Versions::Others })
    }

    fn place(&self, name: &KeyName) -> (String, String) {
        (self.mount.engine.clone(), self.mount.path(name.as_str()))
    }

    fn data_path(&self, name: &KeyName) -> String {
        format!("{}/data/{}", self.mount.engine, self.mount.path(name.as_str()))
    }
}

#[cfg(test)]
mod tests;
