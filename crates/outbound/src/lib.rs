//! HTTP clients for other servers: Vault, AWS, key servers.
//!
//! Every HTTP client is built here, that of the AWS SDK included: the SDK gets a connector on `reqwest`,
//! because its own connector accepts no certificate verifier. TLS uses the verification of `kes-tls`.
//! Redirects are not followed. Proxies come from the environment, read once, and are passed as arguments.
//! [`Failure`] explains failed requests to an operator.

mod failure;
mod proxies;

pub use failure::{Failure, FailureKind};
pub use proxies::{InvalidProxy, Proxies};

/// Makes the builder of an HTTP client with a TLS configuration and proxies.
///
/// The client follows no redirects, because they would forward credentials.
pub fn client_builder(tls: rustls::ClientConfig, proxies: &Proxies) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none());
    proxies.apply(builder)
}
