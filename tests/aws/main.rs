//! The real binary with its keys in emulators of AWS, behind a proxy that injects faults.

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
