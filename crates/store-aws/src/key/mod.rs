//! Keys as secrets: their names, reading, creating, deleting and listing.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod secret;
pub(crate) mod secrets_manager;
pub(crate) mod versions;
