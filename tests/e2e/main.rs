//! The real binary as a process, spoken to over real mutual TLS.
//!
//! `row_NN_…` proves a row of `docs/compatibility.md`.

mod authorization;
mod bodies;
mod certificate_expiry;
mod client_auth;
mod client_disconnects;
mod command;
mod development;
mod fs_store;
mod kes_formats;
mod key_names;
mod keys;
mod load;
mod log_floods;
mod log_injection;
mod log_streams;
mod memory;
mod minio_start;
mod monitoring;
mod output;
mod plain_http;
mod readme;
mod reads;
mod recorded;
mod rejected_connections;
mod replicas;
mod routes;
mod secrets;
mod signals;
mod start;
mod static_key;
mod systemd;
mod terminal;
mod tidy;
mod tls;
mod tls_proxy;
mod unauthenticated_clients;
mod user_configurations;
