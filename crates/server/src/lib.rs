//! The HTTP face of the key server.
//!
//! A request's way: [`listener`] → [`connection`] → [`router`] → [`handler`] → keyring → store.
//! What is known travels down as an argument, what happened travels up as a return value.

mod admission;
mod app;
mod audit;
mod backlog;
mod body;
mod connection;
mod error;
mod fold;
mod handler;
mod idle;
mod lane;
mod layer;
mod listener;
mod live;
mod log;
mod metrics;
mod multiplex;
mod page;
mod peer;
mod protocol;
mod refusal;
mod refusals;
mod route;
mod router;
mod server;
mod shutdown;
mod system;
mod target;
mod tls;
mod unless;
mod validity;
mod wipe;
mod wire;

pub use app::{BuildInfo, Limits};
pub use live::SnapshotError;
pub use log::ErrorLog;
pub use server::{BindError, Bound, Parts, Server};
pub use shutdown::Stop;
pub use tls::TlsError;
#[cfg(feature = "count")]
pub use wire::counted as count;
