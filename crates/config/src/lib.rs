//! The configuration file and the environment, read once into values that cannot be wrong.
//!
//! [`load`] gives a [`Config`] or one line that says where the file is wrong, what is wrong and
//! what would be right. Only this crate reads the environment, configuration files and the files
//! that they name.

mod address;
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
mod key_match;
mod keystore;
mod log;
mod policies;
mod proxies;
mod reading;
mod route;
mod schema;
mod seed;
mod suggest;
mod tls;
mod vault;
mod yaml;

pub use address::{InvalidAddress, ListenAddress};
pub use api::ApiOverride;
pub use aws::{AwsCredentials, AwsKeystore, KmsEndpoint};
pub use cache::CacheExpiry;
pub use certificate::ClientIdentity;
pub use config::{Config, Live, load, parse};
pub use duration::parse_duration;
pub use environment::{Environment, NotText, ProcessEnvironment};
pub use error::{ConfigError, Warning};
pub use keystore::{FsKeystore, Keystore};
pub use log::{AuditEvents, Log, LogLevel};
pub use proxies::ProxyVariables;
pub use tls::{ClientAuth, Proxy, Tls};
pub use vault::{KvVersion, VaultCredentials, VaultJwt, VaultKeystore, VaultLogin, VaultTransit};
