//! Creates, reads, deletes and lists keys, which are secrets of Secrets Manager.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod read;
pub(crate) mod secret;
pub(crate) mod secrets_manager;
pub(crate) mod versions;
