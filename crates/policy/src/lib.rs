//! Authorization: decides which identities may call which paths.
//!
//! [`PolicySet::subject`] looks up an identity once per connection. [`Subject::authorize`] decides each
//! request and returns a [`Permit`], which only this crate can make. The crate is pure: no I/O, no HTTP.

mod pattern;
mod permit;
mod policy;
mod request_path;
mod set;

pub use pattern::Pattern;
pub use permit::{Grant, Permit};
pub use policy::Policy;
pub use request_path::RequestPath;
pub use set::{Admin, Assignment, Conflict, Denied, PolicySet, Subject};
