//! A client of the key server's REST API.
//!
//! Mutual TLS with a [`ClientIdentity`], several endpoints tried in order, and the bodies of
//! [`kes_types::wire`] as answers. Needs a tokio runtime.

mod call;
mod client;
mod endpoint;
mod error;
mod identity;
mod key;
mod policy;
mod status;

pub use client::{Client, ClientConfig, Timeouts};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::{Attempt, Attempts, ClientError, ConnectError, SetupError};
pub use kes_outbound::{InvalidProxy, Proxies};
pub use kes_tls::{ClientIdentity, ServerTrust};
pub use status::ServerStatus;
