//! TLS for the server and for all clients in this process: the crypto provider, verification of
//! certificates, and explanations of failed handshakes.
//!
//! Certificates are verified by the rules of Go's `crypto/x509`, which the users of this protocol know:
//! [`ServerVerifier`] for Vault, AWS and key servers, [`ClientVerifier`] for clients under `tls.auth: on`.
//! A certificate that is in the list of trusted ones is trusted as a peer, byte for byte. As an issuer it
//! is trusted only if it may issue certificates.
//!
//! webpki builds and checks paths. It does not accept leaf certificates of version 1 and those that are
//! marked CA, which Go does. For these `path.rs` has a path search that is stricter than RFC 5280: no name
//! constraints, no unknown critical extensions. Names, dates and key usages are checked in every case.
//!
//! There is no session resumption: every connection sends its certificate, so that a replaced or revoked
//! identity is seen at once.

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

/// The TLS configuration of a client, which [`client_config`] makes.
pub use rustls::ClientConfig;
