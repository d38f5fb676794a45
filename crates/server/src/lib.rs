//! The HTTP face of the key server.
//!
//! A request's way: [`listener`] → [`connection`] → [`router`] → [`handler`] → keyring → store.
//! What is known travels down as an argument, what happened travels up as a return value.

mod accounts;
mod activity;
mod admission;
mod answer;
mod app;
mod audit;
mod backlog;
mod body;
mod budget;
mod changes;
mod connection;
mod error;
mod failures;
mod fold;
mod folded;
mod handler;
mod head;
mod layer;
mod listener;
mod live;
mod log;
mod metrics;
mod multiplex;
mod page;
mod peer;
mod prefix;
mod protocol;
mod refusal;
mod refusals;
mod route;
mod router;
mod run_until;
mod server;
mod shutdown;
mod system;
mod target;
mod timed_io;
mod tls;
mod turns;
mod validity;
mod wipe;
mod wire;

pub use app::BuildInfo;
pub use live::SnapshotError;
pub use log::ErrorLog;
pub use server::{BindError, Bound, Parts, Server};
pub use shutdown::Stop;
pub use tls::TlsError;
#[cfg(feature = "count")]
pub use wire::counted as count;
