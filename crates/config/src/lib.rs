//! Reads the configuration file and the environment into validated values.
//!
//! [`load`] returns a [`Config`] or all errors of the file: each has a position, what is wrong and
//! what would be right. Only this crate reads the environment, configuration files and the files that
//! they name.

mod address;
pub mod advice;
mod api;
mod aws;
mod cache;
mod certificate;
mod config;
mod cursor;
mod duration;
mod endpoint;
mod environment;
mod error;
mod file;
mod findings;
mod keystore;
mod limits;
mod log;
mod origin;
mod placeholder;
mod policies;
mod proxies;
mod route;
mod schema;
mod section;
mod suggest;
mod tls;
mod value;
mod vault;
mod walk;
mod yaml;

pub use address::{InvalidAddress, ListenAddress};
pub use api::ApiOverride;
pub use aws::{AwsCredentials, AwsKeystore, KmsEndpoint};
pub use cache::CacheExpiry;
pub use certificate::ClientIdentity;
pub use config::{Config, Live, load, parse};
pub use duration::parse_duration;
pub use environment::{Environment, NotText, ProcessEnvironment};
pub use error::{ConfigError, ConfigErrors, FAULTS_SHOWN_MAX, Warning};
pub use file::relative_to;
pub use keystore::{FsKeystore, Keystore};
pub use limits::{LIMITS, Limit, LimitValue, Limits};
pub use log::{AuditEvents, Log, LogLevel};
pub use proxies::ProxyVariables;
pub use tls::{ClientAuth, Proxy, Tls};
pub use vault::{KvVersion, VaultCredentials, VaultJwt, VaultKeystore, VaultLogin, VaultTransit};
