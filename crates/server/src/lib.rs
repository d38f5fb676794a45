//! Implements the HTTP server: sockets, TLS, routes, authorization, handlers, logs, metrics and shutdown.
//!
//! A request passes [`connection::listener`], [`connection::serve`], [`http::service`] and
//! `http::handler`, which calls the keyring and the key store. The folders:
//!
//! - `connection/`: from an accepted socket to requests: TLS, the caller's identity, HTTP/1.1 and h2, timeouts;
//! - `http/`: from a request to its response: path, routes, layers, bodies, handlers, errors;
//! - `limit/`: limits of what clients use at once: connections, handshakes, requests, memory;
//! - `log/`: the audit log, the error log, and the folding of repeated lines;
//! - `state/`: what requests share: the current configuration, metrics, changes in progress, shutdown.

mod connection;
mod http;
mod limit;
mod log;
mod server;
mod state;

#[cfg(feature = "count")]
pub use connection::socket::counted as count;
pub use connection::tls::TlsError;
pub use log::stream::ErrorLog;
pub use server::{BindError, Bound, Server, ServerDeps};
pub use state::app::BuildInfo;
pub use state::shutdown::Stop;
pub use state::snapshot::SnapshotError;
