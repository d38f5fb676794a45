//! The real binary as a process, spoken to over real mutual TLS.
//!
//! `checklist_*` holds a test for each row of the list of what `MinIO`, the Go SDK and operators need
//! of a key server; the row's number is in the name.

mod checklist_body;
mod checklist_boot;
mod checklist_keys;
mod checklist_load;
mod checklist_logs;
mod checklist_operation;
mod checklist_read;
mod checklist_replicas;
mod checklist_routes;
mod checklist_tls;
mod command;
mod development;
mod expiry;
mod field;
mod formats;
mod identity;
mod memory;
mod monitoring;
mod output;
mod plain_http;
mod proxy;
mod readme;
mod refusals;
mod replay;
mod routes;
mod secrets;
mod shutdown;
mod signals;
mod static_key;
mod strangers;
mod systemd;
mod tidy;
mod wire;
