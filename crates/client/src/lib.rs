//! A client of the key server's REST API.
//!
//! Mutual TLS with a [`ClientIdentity`], several endpoints tried in order, and the bodies of
//! [`kes_types::wire`] as answers. Needs a tokio runtime.

mod call;
mod client;
mod connector;
mod endpoint;
mod error;
mod identity;
mod key;
mod policy;
mod status;
mod tls;

pub use client::{Client, ClientConfig, Timeouts};
pub use connector::ConnectError;
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::{Attempt, Attempts, ClientError};
pub use tls::{ClientIdentity, ServerTrust, SetupError};
