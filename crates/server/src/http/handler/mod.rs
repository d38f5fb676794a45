//! Contains the handlers of the routes, one file for each group of routes.
//!
//! The arguments of a handler are the request, the proof that it is allowed, and the body if the route has one.
//! A handler parses the name first, then the body; this order determines which error a client receives.

pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod policy;
pub(crate) mod status;
