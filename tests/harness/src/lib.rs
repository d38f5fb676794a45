//! Test harness: certificates, clients, fake and real peers, and the server as a process.
//!
//! Nothing here is taken from the product: what a client computes (identities, certificates, TLS,
//! frames) is computed anew, so that a mistake cannot cancel itself out. Tests of any crate may use it.
//!
//! A key store is tested in three places: on a fake backend within its crate (`fake.rs`), by the
//! conformance suite on a real one (`tests/conformance.rs` of the crate), and as the store of a server process on a
//! real one (`tests/vault`, `tests/aws`).

mod answer;
pub mod aws;
pub mod caller;
mod connection;
mod dial;
mod figures;
pub mod frame;
pub mod go;
pub mod guide;
mod lines;
pub mod memory;
mod need;
mod payload;
pub mod pki;
mod program;
pub mod proxy;
mod relay;
mod server;
mod setup;
pub mod suite;
mod terminal;
pub mod vault;
pub mod vectors;

pub use answer::{Answer, Stream};
pub use connection::{Connection, Pending, Request};
pub use dial::{Dialer, PROTOCOLS, Proto, Seen, Tls};
pub use figures::{Figures, status, try_status};
pub use lines::Lines;
pub use need::{Need, measured, skipped, soak_length, tool};
pub use payload::{Feed, Payload};
pub use pki::Credential;
pub use program::{Finished, Program, finish, kes, raise_open_files, signal};
pub use relay::Relay;
pub use server::{Server, dev_file};
pub use setup::Setup;
pub use terminal::terminal;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Returns the folder of this repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns random bytes.
///
/// # Panics
/// If the system has none.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// Encodes bytes as standard, padded base64.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Decodes standard, padded base64.
///
/// # Panics
/// If `text` is anything else: what the server sends must be.
pub fn unb64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("standard, padded base64")
}
