//! Domain and wire types: names, identities, secrets, timestamps, API paths and JSON bodies.
//!
//! Sync and without I/O.

mod algorithm;
mod clock;
pub mod escape;
mod identity;
mod lock;
mod name;
pub mod path;
mod pattern;
mod random;
mod secret;
mod timestamp;
pub mod wire;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use clock::{Clock, SystemClock};
pub use identity::{Identity, InvalidIdentity};
pub use lock::lock;
pub use name::{InvalidName, KeyName, NAME_LEN_MAX, PolicyName};
pub use pattern::{InvalidPattern, ListPattern};
pub use random::{Random, RandomFailed};
pub use secret::Secret;
pub use timestamp::{InvalidTimestamp, Timestamp};
