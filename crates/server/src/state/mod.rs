//! Holds the state that requests share: the current configuration, metrics, changes in progress, shutdown.

pub(crate) mod app;
pub(crate) mod changes;
pub(crate) mod expiry;
pub(crate) mod metrics;
pub(crate) mod shutdown;
pub(crate) mod snapshot;
pub(crate) mod system;
