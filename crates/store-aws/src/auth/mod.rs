//! Authentication at AWS: the sources of credentials, their refresh, and requests that are signed with them.

pub(crate) mod credentials;
pub(crate) mod refresher;
pub(crate) mod session;
pub(crate) mod source;
