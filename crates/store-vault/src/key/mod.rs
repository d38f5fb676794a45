//! Accesses entries in a K/V engine of version 1 or 2.

pub(crate) mod entry;
pub(crate) mod kv1;
pub(crate) mod kv2;
pub(crate) mod list;
pub(crate) mod mount;
pub(crate) mod transit;

use std::sync::Arc;

use kes_config::KvVersion;
use kes_store::Deadline;
use kes_types::{KeyName, Secret};

use crate::error::VaultError;
use crate::http::response::VaultResponse;
use crate::key::kv1::Kv1;
use crate::key::kv2::Kv2;
use crate::key::mount::Mount;

/// A K/V engine of either version.
#[derive(Debug)]
pub(crate) struct Kv {
    pub(crate) mount: Arc<Mount>,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    V1(Box<Kv1>),
    V2(Kv2),
}

/// The result of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// The value is stored.
    Done,
    /// An entry of that name already exists.
    Exists,
}

impl Kv {
    pub(crate) fn new(mount: Arc<Mount>) -> Self {
        let engine = match mount.version {
            KvVersion::V1 => Engine::V1(Box::new(Kv1::new(Arc::clone(&mount)))),
            KvVersion::V2 => Engine::V2(Kv2::new(Arc::clone(&mount))),
        };
        Self { mount, engine }
    }

    /// Reads a value; returns none if Vault reports that the entry does not exist.
    pub(crate) async fn read(
        &self,
        name: &KeyName,
        deadline: Deadline,
    ) -> Result<Option<Secret>, VaultError> {
        self.mount.ensure_checked(deadline).await?;
        match &self.engine {
            Engine::V1(kv) => kv.read(name, deadline).await,
            Engine::V2(kv) => kv.read(name, deadline).await,
        }
    }

    pub(crate) async fn create(
        &self,
        name: &KeyName,
        value: &str,
        deadline: Deadline,
    ) -> Result<Creation, VaultError> {
        self.mount.ensure_checked(deadline).await?;
        match &self.engine {
            Engine::V1(kv) => kv.create(name, value, deadline).await,
            Engine::V2(kv) => kv.create(name, value, deadline).await,
        }
    }

    /// Deletes an entry; returns whether it existed.
    pub(crate) async fn delete(
        &self,
        name: &KeyName,
        deadline: Deadline,
    ) -> Result<bool, VaultError> {
        self.mount.ensure_checked(deadline).await?;
        let call = match &self.engine {
            Engine::V1(kv) => kv.removal(name),
            Engine::V2(kv) => kv.removal(name),
        }?;
        loop {
            // Vault reports success even if the entry does not exist.
            let exists = match &self.engine {
                Engine::V1(kv) => kv.exists(name, deadline).await,
                Engine::V2(kv) => kv.exists(name, deadline).await,
            }?;
            if !exists {
                return Ok(false);
            }
            if self.mount.remove(&call, deadline).await? {
                return Ok(true);
            }
        }
    }
}

/// Converts every response other than a success to an error.
pub(crate) fn accepted(answer: VaultResponse) -> Result<VaultResponse, VaultError> {
    if answer.is_success() { Ok(answer) } else { Err(answer.into_error()) }
}

/// Returns whether a write that failed with this error may have taken effect.
pub(crate) fn is_ambiguous(error: &VaultError) -> bool {
    match error {
        VaultError::Transport(_, cause) => !cause.is_connect(),
        VaultError::TimedOut { .. } | VaultError::TooLong { .. } => true,
        VaultError::Unavailable { status, .. } => *status >= 500,
        _ => false,
    }
}
