//! Decoded keys by name, in front of any key store.
//!
//! [`Keyring::get`] asks for a [`Permit`](kes_policy::Permit): no Permit, no key.

mod cache;
mod calls;
mod error;
mod flight;
mod keyring;
mod probe;
mod read;
mod store_call;

pub use cache::CacheExpiry;
pub use calls::Busy;
pub use error::{CallError, CreateError, GetError};
pub use keyring::{Keyring, KeyringDeps};
pub use probe::Health;
