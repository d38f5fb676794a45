//! The handlers of the routes, one file for each group of routes.
//!
//! A handler is given the request, the proof that it is allowed, and, where the route has one, the body. It parses
//! the name first, then the body, then acts: that is the order in which clients see errors.

pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod log;
pub(crate) mod policy;
pub(crate) mod status;
