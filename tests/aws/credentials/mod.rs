//! Credentials that servers find by themselves: from each of their sources, replaced, late, revoked
//! and not at all.

mod fixture;
mod outages;
mod refusals;
mod rotation;
mod sources;
