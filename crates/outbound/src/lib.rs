//! HTTP clients of other servers: Vault, AWS, key servers.
//!
//! One builder for all of them: TLS with our verification of certificates (`kes-tls`), the proxies of
//! the environment, no redirects; and one way to tell an operator why a request failed.

mod failure;
mod proxies;

pub use failure::{Failure, FailureKind};
pub use proxies::{InvalidProxy, Proxies};

/// Begins an HTTP client on a TLS configuration. It follows no redirects, since they would carry
/// credentials along, and goes through the proxies of the environment.
pub fn client_builder(tls: rustls::ClientConfig, proxies: &Proxies) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none());
    proxies.apply(builder)
}
