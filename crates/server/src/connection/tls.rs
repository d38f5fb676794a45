//! Builds the TLS configuration of the server.
//!
//! There is no session resumption: every connection presents its certificate, so a rotated or revoked
//! identity takes effect with the next connection.

use std::sync::Arc;

use kes_config::{ClientAuth, Tls};
use kes_crypto::pem::PrivateKeyKind;
use kes_tls::{ClientVerifier, TrustStore, TrustStoreError, provider};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    UnixTime,
};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::{Error, ServerConfig};

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate chain and the private key do not match.
    #[error("tls.cert and tls.key do not make a server certificate")]
    Certificate(#[source] Error),
    /// There are no usable trust anchors to verify client certificates.
    #[error("client certificates cannot be verified; set tls.ca")]
    Trust(#[source] TrustStoreError),
    /// The TLS library rejects the settings.
    #[error("TLS settings do not fit together")]
    Settings(#[source] Error),
}

/// Builds a configuration with TLS 1.2 and 1.3 and client authentication, without session resumption. With
/// `is_certificate_optional` a client may present no certificate.
pub(crate) fn server_config(
    tls: &Tls,
    is_certificate_optional: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let verifier: Arc<dyn ClientCertVerifier> = match tls.auth {
        ClientAuth::Off => Arc::new(ClientVerifier::any(&provider, !is_certificate_optional)),
        ClientAuth::On => chain_verifier(tls, is_certificate_optional)?,
    };
    let chain = tls.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let der = tls.key.der().expose().to_vec();
    let key = match tls.key.kind() {
        PrivateKeyKind::Pkcs8 => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der)),
        PrivateKeyKind::Pkcs1 => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der)),
        PrivateKeyKind::Sec1 => PrivateKeyDer::from(PrivateSec1KeyDer::from(der)),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Settings)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Certificate)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // In a resumed session the client would not present its certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn chain_verifier(tls: &Tls, is_optional: bool) -> Result<Arc<ClientVerifier>, TlsError> {
    let trust = TrustStore::of_or_system(tls.ca.as_deref()).map_err(TlsError::Trust)?;
    Ok(Arc::new(ClientVerifier::new(trust, &provider(), !is_optional)))
}

/// Verifies the certificate chains that a TLS proxy forwards.
#[derive(Clone, Debug)]
pub(crate) struct ForwardedChain(Arc<ClientVerifier>);

impl ForwardedChain {
    /// Returns `None` with `tls.auth: off`: then only possession of the key counts, which the proxy has
    /// verified.
    pub(crate) fn new(tls: &Tls) -> Result<Option<Self>, TlsError> {
        match tls.auth {
            ClientAuth::Off => Ok(None),
            ClientAuth::On => chain_verifier(tls, false).map(|verifier| Some(Self(verifier))),
        }
    }

    /// Verifies that the first certificate chains through the others to a trust anchor, for client
    /// authentication, at the current time.
    pub(crate) fn check(&self, chain_der: &[Vec<u8>]) -> Result<(), Error> {
        self.0.verify_chain(chain_der, UnixTime::now())
    }
}
