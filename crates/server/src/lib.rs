//! The HTTP face of the key server.
//!
//! A request's way: [`listener`] → [`connection`] → [`router`] → [`handler`] → keyring → store.
//! What is known travels down as an argument, what happened travels up as a return value.

mod admission;
mod app;
mod audit;
mod body;
mod connection;
mod error;
mod handler;
mod idle;
mod layer;
mod listener;
mod live;
mod log;
mod metrics;
mod page;
mod peer;
mod route;
mod router;
mod server;
mod shutdown;
mod system;
mod target;
mod tls;

pub use app::{BuildInfo, Limits};
pub use live::SnapshotError;
pub use log::{ErrorLog, LogLine};
pub use server::{BindError, Bound, Parts, Server};
pub use shutdown::Stop;
pub use tls::TlsError;
