//! TLS towards Vault, as the settings have it.

use kes_config::VaultKeystore;
use kes_tls::{ClientConfig, ClientIdentity, ClientTlsError, ServerTrust, Side};

/// The settings that would cure a failed handshake.
pub(crate) const SIDE: Side = Side::Client {
    trust: "keystore.vault.tls.ca",
    identity: "keystore.vault.tls.cert and keystore.vault.tls.key",
};

/// Trusts the certificates of the settings, or those of the system; shows the client certificate of
/// the settings, if there is one.
pub(crate) fn client_config(settings: &VaultKeystore) -> Result<ClientConfig, ClientTlsError> {
    let trust = match &settings.ca {
        Some(certificates) => ServerTrust::Certificates(certificates.clone()),
        // No server is verified then: a system without certificates is good enough.
        None if settings.endpoint.starts_with("http://") => ServerTrust::Certificates(Vec::new()),
        None => ServerTrust::SystemRoots,
    };
    let identity = settings
        .client
        .as_ref()
        .map(|client| ClientIdentity::new(client.chain.clone(), client.key.der().clone()));
    kes_tls::client_config(&trust, identity.as_ref())
}
