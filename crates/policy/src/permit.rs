//! Permits: proofs that a request was authorized.

use std::sync::Arc;

use kes_types::Identity;

use crate::Policy;

/// The proof that a request was authorized: the caller, and what allowed the request.
///
/// Only this crate makes permits, so a function with a `&Permit` argument cannot be called without
/// authorization.
#[derive(Clone, Debug)]
pub struct Permit {
    pub(crate) identity: Option<Identity>,
    pub(crate) grant: Grant,
}

impl Permit {
    /// The caller's identity; `None` on a route that is open to callers without a certificate, and for
    /// what the server does by its configuration if there is no admin.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// What allowed the request.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

/// What allowed a request.
#[derive(Clone, Debug)]
pub enum Grant {
    /// The caller is the admin.
    Admin,
    /// A policy that the caller is assigned to.
    Policy(Arc<Policy>),
    /// The route needs no policy.
    Open,
    /// The server itself does what its configuration file says.
    Configuration,
}
