//! The real binary under hostile peers, together with a legitimate client.
//!
//! Each test starts a load that is made to hold what the server has, and asserts that the legitimate
//! client is served, that the server's memory is bounded, and that it is given back. Loads are bounded
//! and on loopback. Times are printed and never asserted.

mod answers;
mod bodies;
mod client;
mod connections;
mod handshakes;
mod heads;
mod load;
mod mixed;
mod process;
mod store;
mod sum;
