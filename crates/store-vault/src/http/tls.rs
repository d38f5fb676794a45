//! Configures TLS for connections to Vault, from the settings.

use kes_config::VaultKeystore;
use kes_tls::{ClientConfig, ClientIdentity, ClientTlsError, ServerTrust, Side};

/// The settings that an operator can correct when a TLS handshake fails.
pub(crate) const SIDE: Side = Side::Client {
    trust: "keystore.vault.tls.ca",
    identity: "keystore.vault.tls.cert and keystore.vault.tls.key",
};

/// Creates a TLS configuration that trusts the configured certificates, or those of the system, and
/// presents the client certificate, if one is configured.
pub(crate) fn client_config(settings: &VaultKeystore) -> Result<ClientConfig, ClientTlsError> {
    let trust = match &settings.ca {
        Some(certificates) => ServerTrust::Certificates(certificates.clone()),
        // No server is verified then, so a system without certificates is sufficient.
        None if settings.endpoint.starts_with("http://") => ServerTrust::Certificates(Vec::new()),
        None => ServerTrust::SystemRoots,
    };
    let identity = settings
        .client
        .as_ref()
        .map(|client| ClientIdentity::new(client.chain.clone(), client.key.der().clone()));
    kes_tls::client_config(&trust, identity.as_ref())
}
