//! What happens around every handler, a file each, in this order: trace, metrics, audit, limit,
//! authorize, panic guard.
//!
//! Plain functions and guards instead of tower layers: the order stands in one function
//! (`router::through_layers`), and a request costs no boxed future per layer.

pub(crate) mod audit;
pub(crate) mod authorize;
pub(crate) mod limit;
pub(crate) mod metrics;
pub(crate) mod panic;
pub(crate) mod trace;
