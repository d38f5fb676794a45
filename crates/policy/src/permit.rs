//! The proof that a call was allowed.

use std::sync::Arc;

use kes_types::Identity;

use crate::Policy;

/// Who was allowed, and by what. Only this crate makes one, so code that asks for a `&Permit`
/// cannot be reached without a decision.
#[derive(Clone, Debug)]
pub struct Permit {
    pub(crate) identity: Option<Identity>,
    pub(crate) grant: Grant,
}

impl Permit {
    /// The caller; none on a route that is open to callers without a certificate, and for the
    /// server acting on its own configuration.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// What allowed the call.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

/// What allowed a call.
#[derive(Clone, Debug)]
pub enum Grant {
    /// The caller is the admin.
    Admin,
    /// A policy that the caller is assigned to.
    Policy(Arc<Policy>),
    /// The route asks for no policy.
    Open,
    /// The server itself, carrying out its configuration file.
    Configuration,
}
