//! Who may do what. Pure: no I/O, no HTTP.
//!
//! [`PolicySet::subject`] resolves an identity once per connection; [`Subject::authorize`] decides
//! per request and returns a [`Permit`], which nothing else can make.

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
