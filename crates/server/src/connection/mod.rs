//! Serves connections: accepted sockets, TLS, the caller's identity, HTTP/1.1 and h2, timeouts.

pub(crate) mod activity;
pub(crate) mod listener;
pub(crate) mod multiplex;
pub(crate) mod peer;
pub(crate) mod protocol;
pub(crate) mod run_until;
pub(crate) mod serve;
pub(crate) mod socket;
pub(crate) mod timed_io;
pub(crate) mod timed_stream;
pub(crate) mod tls;
pub(crate) mod wipe;
