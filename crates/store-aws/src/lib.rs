//! Stores keys in AWS Secrets Manager, encrypted with AWS KMS.
//!
//! A key is the current value of the secret `<prefix>/<name>`, encrypted by Secrets Manager under a key of AWS KMS.
//!
//! The files, in the order in which all stores have them:
//!
//! - `lib.rs`: opens the store, and implements [`KeyStore`];
//! - `error/`: the errors. AWS errors are classified by their codes, never by HTTP statuses; a
//!   response without a code is not from AWS. Errors of the SDK are sanitized, because some contain
//!   the whole request;
//! - `http.rs`: the HTTP client of the SDK, on `kes-outbound`;
//! - `auth/`: the sources of credentials, their refresh, and requests that are signed with them;
//! - `key/`: creates, reads, deletes and lists secrets;
//! - `health.rs`, `kms.rs`: the health probe, and the check of the KMS key;
//! - `fake.rs`: a manual clock and a fake source of credentials for the crate's own tests.
//!
//! Decisions:
//!
//! - *Not found* is accepted only when AWS reports it twice. The code `ResourceNotFoundException`
//!   stands for three states, so `DescribeSecret` is called too.
//! - Secrets are created by a retry loop of this crate (`key/create.rs`), not by the retries of the
//!   SDK: an attempt that is ambiguous is observed before it is sent again, with the same
//!   idempotency token. A secret counts as created when its value was read back, because only the
//!   value shows which writer created the secret.
//! - A secret is deleted by its ARN, which identifies this secret and no later one of the same
//!   name.
//! - Only what KMS itself reports about the key makes the store unhealthy (`kms.rs`). Secrets
//!   Manager uses the key on its own, and this server may have no access to KMS. Only the start
//!   waits for KMS.
//! - Credentials are refreshed in the background by this crate (`auth/refresher.rs`). The cache of
//!   the SDK loads them while a request waits, and a credential chain caches rotated files, ended
//!   sessions and expired credentials; so each refresh uses a new chain. The chain reads the
//!   environment and `~/.aws` itself.

mod auth;
mod call;
mod error;
#[cfg(test)]
mod fake;
mod health;
mod http;
mod key;
mod kms;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_secretsmanager::types::Tag;
use kes_config::AwsKeystore;
use kes_outbound::Proxies;
use kes_store::{BoxError, KeyStore, ListQuery, OpenFuture, Page, StoreError};
use kes_types::{Clock, KeyName, Random, Secret};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::OpenError;

use crate::auth::session::{self, AwsSession};
use crate::error::AwsError;
use crate::error::refusal::Refusal;
use crate::health::Health;
use crate::http::Http;
use crate::key::create::Creation;
use crate::key::secret::Names;
use crate::key::secrets_manager::SecretsManager;
use crate::key::versions::Versions;
use crate::kms::KmsKey;

/// The dependencies of an AWS store.
#[derive(Debug)]
pub struct AwsStoreDeps {
    /// The endpoints, credentials and names to use.
    pub settings: AwsKeystore,
    /// The proxies through which AWS is reached.
    pub proxies: Proxies,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random source of idempotency tokens.
    pub random: Arc<dyn Random>,
    /// Tracks the task that refreshes credentials, and background checks.
    pub tasks: TaskTracker,
    /// Stops these tasks.
    pub stop: CancellationToken,
}

/// A key store in AWS Secrets Manager.
///
/// Every operation ends within 10 s, even if AWS does not respond.
#[derive(Debug)]
pub struct AwsStore {
    manager: Arc<SecretsManager>,
    kms_key: Option<Arc<KmsKey>>,
    health: Health,
    versions: Versions,
}

impl AwsStore {
    /// Loads credentials, and checks within 10 s each whether AWS accepts them and whether the KMS
    /// key can be used.
    ///
    /// If AWS does not respond, or credentials are not available yet, the store is opened
    /// nevertheless: it recovers by itself, and the warnings describe the problem. Static
    /// credentials that AWS rejects and a KMS key that cannot be used are errors.
    pub fn open(deps: AwsStoreDeps) -> OpenFuture<Self, OpenError> {
        Box::pin(Self::connect(deps))
    }

    async fn connect(deps: AwsStoreDeps) -> Result<(Self, Vec<BoxError>), OpenError> {
        let AwsStoreDeps { settings, proxies, clock, random, tasks, stop } = deps;
        let http = Http::new(&settings.endpoint, proxies).map_err(OpenError::Tls)?;
        let session = AwsSession::new(&settings, http, clock, tasks.clone(), stop.clone());
        let session = Arc::new(session);
        let refresher = Arc::clone(&session.refresher);
        let names = Names::new(&settings.prefix);
        let tags = settings.tags.as_deref().map(tags);
        let kms_key = settings.kms_key.clone();
        let manager = Arc::new(SecretsManager::new(session, names, kms_key.clone(), tags, random));
        let store = Self {
            manager,
            kms_key: kms_key.map(|key| Arc::new(KmsKey::new(key, settings.region))),
            health: Health::default(),
            versions: Versions::new(tasks.clone(), stop.clone()),
        };
        let warnings = store.first_look().await?;
        tasks.spawn(refresher.run());
        if let Some(key) = &store.kms_key {
            let session = Arc::clone(&store.manager.session);
            tasks.spawn(Arc::clone(key).watch(session, stop));
        }
        Ok((store, warnings))
    }

    async fn first_look(&self) -> Result<Vec<BoxError>, OpenError> {
        let session = &self.manager.session;
        if let Err(error) = session.refresher.ready(session::deadline()).await {
            return Ok(vec![Warning::NotNow(error).into()]);
        }
        let deadline = session::deadline();
        let key = async {
            if let Some(key) = &self.kms_key {
                key.look(session, deadline).await;
            }
        };
        let (ping, ()) = tokio::join!(self.manager.ping(deadline), key);
        let mut warnings: Vec<BoxError> = Vec::new();
        match ping {
            Ok(()) => {}
            Err(error) if error.refusal().is_some_and(Refusal::is_denial) => {
                warnings.push(Warning::NoList(error).into());
            }
            Err(error)
                if session.refresher.is_given()
                    && error
                        .refusal()
                        .is_some_and(|it| it.is_about_credentials() && !it.is_about_time()) =>
            {
                return Err(OpenError::Credentials(error.into()));
            }
            Err(error) => warnings.push(Warning::NotNow(error).into()),
        }
        let Some(key) = &self.kms_key else { return Ok(warnings) };
        match (key.verdict(), key.hidden()) {
            (Err(error), _) if error.is_transient() => {
                warnings.push(Warning::UnseenKey(key.name().to_owned(), error).into());
            }
            (Err(error), _) => return Err(OpenError::Key(error.into())),
            (Ok(()), Some(error)) => {
                warnings.push(Warning::HiddenKey(key.name().to_owned(), error).into());
            }
            (Ok(()), None) => {}
        }
        Ok(warnings)
    }
}

#[async_trait]
impl KeyStore for AwsStore {
    async fn status(&self) -> Result<Duration, StoreError> {
        let latency = self.health.check(&self.manager).await?;
        if let Some(key) = &self.kms_key {
            key.verdict()?;
        }
        Ok(latency)
    }

    async fn create(&self, name: &KeyName, value: Secret) -> Result<(), StoreError> {
        match self.manager.create(name, &value, session::deadline()).await? {
            Creation::Done => Ok(()),
            Creation::Exists => Err(StoreError::Exists(name.clone())),
        }
    }

    async fn get(&self, name: &KeyName) -> Result<Secret, StoreError> {
        match self.manager.read(name, session::deadline()).await? {
            Some(value) => {
                self.versions.read(&self.manager, name);
                Ok(value)
            }
            None => Err(StoreError::NotFound(name.clone())),
        }
    }

    async fn delete(&self, name: &KeyName) -> Result<(), StoreError> {
        let is_removed = self.manager.delete(name, session::deadline()).await?;
        if is_removed { Ok(()) } else { Err(StoreError::NotFound(name.clone())) }
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        Ok(self.manager.page(query, session::deadline()).await?)
    }
}

/// Returns the tags of new secrets: the default tags, unless the configuration sets them, and the
/// configured tags.
fn tags(given: &[(String, String)]) -> Vec<Tag> {
    let ours = [("kes:created-by", "kes"), ("kes:version", env!("CARGO_PKG_VERSION"))];
    let is_given = |key: &str| given.iter().any(|(given, _)| given == key);
    let ours = ours.into_iter().filter(|(key, _)| !is_given(key));
    let given = given.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    ours.chain(given).map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

/// A problem at the start that the operator should know.
#[derive(Debug, thiserror::Error)]
enum Warning {
    #[error("AWS cannot be used now; the server starts all the same, and tries again")]
    NotNow(#[source] AwsError),
    #[error("keys cannot be listed")]
    NoList(#[source] AwsError),
    #[error(
        "KMS key '{0}' cannot be seen with these credentials from here: whether it can be used is \
         not checked; that wants kms:DescribeKey, and kmsendpoint where KMS is elsewhere"
    )]
    HiddenKey(String, #[source] AwsError),
    #[error(
        "KMS key '{0}' cannot be looked at now; the server starts all the same, and tries again"
    )]
    UnseenKey(String, #[source] AwsError),
}

/// The log target of notices, which are logged at every log level.
const NOTICE: &str = "notice";
