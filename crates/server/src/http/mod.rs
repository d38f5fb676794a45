//! Requests: paths, routes, layers, bodies, handlers and errors.

pub(crate) mod decoded_path;
pub(crate) mod error;
pub(crate) mod handler;
pub(crate) mod head;
pub(crate) mod layer;
pub(crate) mod page;
pub(crate) mod request_body;
pub(crate) mod response;
pub(crate) mod route;
pub(crate) mod router;
