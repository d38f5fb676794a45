//! The real binary with its keys in a real `OpenBao`.

mod counts;
mod creators;
mod entries;
mod fixture;
mod guide;
mod kubernetes;
mod namespaces;
mod outages;
mod policies;
mod recorded;
mod scenario;
mod start;
mod tls;
mod tokens;
mod transit;
