//! TLS for the server and for everything that is a TLS client here: the cryptography, which peers
//! are trusted, and what a failed handshake means to an operator.
//!
//! Certificates are judged by the rules of Go's `crypto/x509`, which the users of this protocol know,
//! in one place for all: [`ServerVerifier`] for Vault, AWS and key servers, [`ClientVerifier`] for
//! clients under `tls.auth: on`. webpki builds and checks the path; what Go accepts and webpki does
//! not is added in `chain.rs` and `path.rs`.

mod chain;
mod client;
mod client_verifier;
mod explain;
mod key_match;
mod path;
mod provider;
mod purpose;
mod server_verifier;
mod signature;
mod trust_store;

pub use client::{ClientIdentity, ClientTlsError, ServerTrust, client_config};
pub use client_verifier::ClientVerifier;
pub use explain::{
    Explanation, GIVE_CERTIFICATE, NO_CERTIFICATE, Side, UNREADABLE_CERTIFICATE, alert_in_text,
    explain, explain_io, tls_error,
};
pub use key_match::keys_match;
pub use provider::provider;
pub use server_verifier::ServerVerifier;
pub use trust_store::{TrustStore, TrustStoreError};

/// The TLS configuration of a client, as [`client_config`] makes it.
pub use rustls::ClientConfig;
