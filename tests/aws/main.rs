//! The real binary with its keys in AWS, that is in emulators of it, with a proxy between.

mod absence;
mod calls;
mod creation;
mod credentials;
mod entries;
mod faults;
mod fixture;
mod guide;
mod listing;
mod proxy;
mod recorded;
mod scenario;
mod start;
