//! A client of the key server's REST API.
//!
//! It connects over mutual TLS with a [`ClientIdentity`], tries several endpoints in order, and
//! returns the bodies of [`kes_types::wire`]. It needs a tokio runtime.

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
