//! Authenticates requests to Vault: logs in, renews the token, and sends requests with it.

pub(crate) mod login;
pub(crate) mod session;
pub(crate) mod token_refresher;
pub(crate) mod token_state;
