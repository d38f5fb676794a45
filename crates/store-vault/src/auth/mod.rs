//! Authentication at Vault: login, the token and its renewal, and requests that carry it.

pub(crate) mod login;
pub(crate) mod session;
pub(crate) mod token_refresher;
pub(crate) mod token_state;
