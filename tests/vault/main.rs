//! The real binary with its keys in a real `OpenBao`.

mod entries;
