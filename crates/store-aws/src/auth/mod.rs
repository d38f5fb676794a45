//! Authenticates requests to AWS: loads credentials, refreshes them, and signs requests with them.

pub(crate) mod credentials;
pub(crate) mod refresher;
pub(crate) mod session;
pub(crate) mod source;
