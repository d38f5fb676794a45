//! Limits on what clients may hold at once: connections, handshakes, requests, memory.

pub(crate) mod accounts;
pub(crate) mod admission;
pub(crate) mod budget;
pub(crate) mod handshakes;
pub(crate) mod prefix;
