//! The real binary with its keys in a real `OpenBao`.

mod entries;
mod outages;
mod site;
mod start;
mod tokens;
