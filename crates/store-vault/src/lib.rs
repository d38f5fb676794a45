//! Stores keys in a K/V engine of `HashiCorp` Vault or `OpenBao`.
//!
//! The entry `<engine>/<prefix>/<name>` has one field, named like the key, with the stored key as
//! text. With transit, the value is encrypted once more.
//!
//! The files, in the order in which all stores have them:
//!
//! - `lib.rs`: opens the store, and implements [`KeyStore`];
//! - `error.rs`: the errors;
//! - `http/`: requests, responses, and redirects to the active node;
//! - `auth/`: login, the token and its renewal, and requests that carry it;
//! - `key/`: entries of K/V version 1 and 2, transit, and the mount that they are in;
//! - `health.rs`: the health probe;
//! - `fake.rs`: a fake Vault for the crate's own tests.
//!
//! Decisions:
//!
//! - `vaultrs` defines the requests to Vault, and `http/` sends them. The client of `vaultrs` drops
//!   `Retry-After`, logs every 404 as an error with the name of the key, and follows redirects to
//!   any host with the token.
//! - A 404 is accepted only after the mount was checked. An engine of the other version, or no
//!   engine, responds with *not found* to a read of any key, and so does a standby node that lags
//!   behind. So the mount is read, and the active node is called. That costs two or three more
//!   calls, and only when a key does not exist.
//! - A request that changes something is sent once, after a check of the current state. When Vault
//!   requests a retry, the check is repeated first.
//! - A single task logs in and renews (`auth/token_refresher.rs`); a state machine without I/O
//!   decides when (`auth/token_state.rs`). Requests wait for a login, and fail at once with its
//!   last error while it backs off.
//! - A server starts even if Vault is unreachable: it is not ready, and creates the keys of its
//!   configuration later. Wrong credentials and a wrong engine make the start fail.

mod auth;
mod error;
#[cfg(test)]
mod fake;
mod health;
mod http;
mod key;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kes_config::{KvVersion, VaultKeystore};
use kes_outbound::Proxies;
use kes_store::{
    BoxError, Deadline, KeyStore, ListQuery, OpenFuture, Page, StoreError, VALUE_LEN_MAX,
};
use kes_types::{Clock, KeyName, Secret};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::OpenError;

use crate::auth::login::Login;
use crate::auth::session::VaultSession;
use crate::auth::token_refresher::TokenRefresher;
use crate::error::VaultError;
use crate::health::Health;
use crate::http::Transport;
use crate::key::mount::{Finding, Mount};
use crate::key::transit::Transit;
use crate::key::{Creation, Kv};

/// The dependencies of a Vault store.
#[derive(Debug)]
pub struct VaultStoreDeps {
    /// The endpoint, credentials and names to use.
    pub settings: VaultKeystore,
    /// The proxies through which Vault is reached.
    pub proxies: Proxies,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Tracks the task that refreshes the token.
    pub tasks: TaskTracker,
    /// Stops that task, which then revokes the token.
    pub stop: CancellationToken,
}

/// A key store in Vault.
///
/// Every operation ends within 10 s, even if Vault does not respond. A creation in a K/V engine of
/// version 1 takes half a second longer than the calls to Vault.
#[derive(Debug)]
pub struct VaultStore {
    session: Arc<VaultSession>,
    health: Health,
    kv: Kv,
    transit: Option<Transit>,
}

impl VaultStore {
    /// Logs in, and checks whether the engine matches the settings, within 10 s each.
    ///
    /// If Vault does not respond, is sealed or requests a later retry, the store is opened
    /// nevertheless: it recovers by itself, and the warnings describe the problem. Wrong
    /// credentials and an engine that does not match the settings are errors.
    pub fn open(deps: VaultStoreDeps) -> OpenFuture<Self, OpenError> {
        Box::pin(Self::connect(deps))
    }

    async fn connect(deps: VaultStoreDeps) -> Result<(Self, Vec<BoxError>), OpenError> {
        let VaultStoreDeps { settings, proxies, clock, tasks, stop } = deps;
        let unusable = |error: VaultError| OpenError::Engine(error.into());
        let transport = Arc::new(Transport::new(&settings, &proxies)?);
        let login = Login::new(&settings.login).map_err(unusable)?;
        let refresher =
            Arc::new(TokenRefresher::new(Arc::clone(&transport), login, Arc::clone(&clock)));
        let namespace = auth::login::namespace(settings.namespace.as_deref()).map_err(unusable)?;
        let session =
            Arc::new(VaultSession { transport, refresher: Arc::clone(&refresher), namespace });
        let mount = Arc::new(Mount::new(
            Arc::clone(&session),
            settings.engine.clone(),
            settings.version,
            settings.prefix.clone(),
        ));
        let transit = settings.transit.as_ref();
        let transit = transit.map(|transit| Transit::new(Arc::clone(&session), transit));
        let health = Health::new(clock);
        let store = Self { session, health, kv: Kv::new(mount), transit };
        match store.first_look(&settings).await {
            Ok(warnings) => {
                tasks.spawn(refresher.run(stop));
                Ok((store, warnings))
            }
            Err(error) => {
                refresher.give_back().await;
                Err(error)
            }
        }
    }

    async fn first_look(&self, settings: &VaultKeystore) -> Result<Vec<BoxError>, OpenError> {
        let mut warnings: Vec<BoxError> = Vec::new();
        if settings.version == KvVersion::V1 {
            warnings.push(Warning::Version1.into());
        }
        let refresher = &self.session.refresher;
        if let Err(error) = refresher.attempt().await {
            if !error.is_misconfiguration() {
                warnings.push(Warning::NotNow(error).into());
                return Ok(warnings);
            }
            return Err(OpenError::Login { fields: refresher.fields(), source: error.into() });
        }
        match self.kv.mount.check(http::deadline()).await {
            Ok(Finding::Fits) => {}
            Ok(Finding::Unknown) => {
                warnings.push(Warning::Unchecked(settings.engine.clone()).into());
            }
            Err(error) if error.is_transient() => {
                warnings.push(Warning::NotNow(Arc::new(error)).into());
            }
            Err(error) => return Err(OpenError::Engine(error.into())),
        }
        Ok(warnings)
    }

    /// Returns the stored key of a value in Vault, decrypted if it was encrypted by transit.
    async fn opened(
        &self,
        name: &KeyName,
        value: Secret,
        deadline: Deadline,
    ) -> Result<Secret, VaultError> {
        let text = std::str::from_utf8(value.expose()).ok();
        let Some(ciphertext) = text.filter(|text| key::transit::is_sealed(text)) else {
            return Ok(value);
        };
        match &self.transit {
            Some(transit) => transit.open(ciphertext, deadline).await,
            None => Err(VaultError::TransitMissing {
                path: format!("{}/{}", self.kv.mount.engine, self.kv.mount.path(name.as_str())),
            }),
        }
    }

    /// Returns the value to store in Vault for a stored key, encrypted if transit is configured.
    async fn sealed(&self, value: &Secret, deadline: Deadline) -> Result<String, VaultError> {
        if value.expose().len() > VALUE_LEN_MAX {
            return Err(VaultError::TooLarge);
        }
        if let Some(transit) = &self.transit {
            return transit.seal(value, deadline).await;
        }
        let text = std::str::from_utf8(value.expose()).map_err(|_| VaultError::NotText)?;
        if key::transit::is_sealed(text) {
            Err(VaultError::LooksSealed)
        } else {
            Ok(text.to_owned())
        }
    }
}

#[async_trait]
impl KeyStore for VaultStore {
    async fn status(&self) -> Result<Duration, StoreError> {
        Ok(self.health.check(&self.session).await?)
    }

    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError> {
        let deadline = http::deadline();
        let value = self.sealed(&value, deadline).await?;
        match self.kv.create(name, &value, deadline).await? {
            Creation::Done => Ok(()),
            Creation::Exists => Err(StoreError::Exists(name.clone())),
        }
    }

    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError> {
        let deadline = http::deadline();
        match self.kv.read(name, deadline).await? {
            Some(value) => Ok(self.opened(name, value, deadline).await?),
            None => Err(StoreError::NotFound(name.clone())),
        }
    }

    async fn delete(&self, name: &KeyName) -> Result<(), StoreError> {
        let is_removed = self.kv.delete(name, http::deadline()).await?;
        if is_removed { Ok(()) } else { Err(StoreError::NotFound(name.clone())) }
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        Ok(self.kv.list(query, http::deadline()).await?)
    }
}

/// A problem at the start that the operator should know.
#[derive(Debug, thiserror::Error)]
enum Warning {
    #[error(
        "K/V version 1 cannot create without overwriting: when two servers create one name at the \
         same time, one key can be lost; prefer an engine of version 2"
    )]
    Version1,
    #[error("Vault cannot be used now; the server starts all the same, and tries again")]
    NotNow(#[source] Arc<VaultError>),
    #[error(
        "the token's policies do not let us see the settings of engine '{0}': its version and \
         delete_version_after are not checked"
    )]
    Unchecked(String),
}
