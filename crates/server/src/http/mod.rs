//! Processes requests: paths, routes, layers, bodies, handlers and errors.

pub(crate) mod decoded_path;
mod dispatch;
pub(crate) mod error;
mod handler;
pub(crate) mod head;
mod layer;
pub(crate) mod page;
pub(crate) mod request;
pub(crate) mod request_body;
pub(crate) mod response;
pub(crate) mod route;
pub(crate) mod service;
