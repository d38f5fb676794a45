//! Credentials that servers find by themselves: each source, rotation, outages and revocation.

mod fixture;
mod outages;
mod refusals;
mod rotation;
mod sources;
