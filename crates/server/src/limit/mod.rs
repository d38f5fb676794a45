//! Limits what clients may use at once: connections, handshakes, requests, memory.

pub(crate) mod accounts;
pub(crate) mod admission;
pub(crate) mod budget;
mod by_prefix;
mod connections;
pub(crate) mod handshakes;
pub(crate) mod prefix;
