//! AWS on loopback: two emulators as processes, their API, and the verification of signatures.

mod api;
mod emulator;
pub mod error;
pub mod identity;
mod sigv4;

pub use api::Api;
pub use emulator::{Ministack, Moto, ministack, moto};
pub use sigv4::{Signer, is_action, key_id, signed_at, verify};
