//! TLS towards Vault; the one module of this crate that names rustls.

use std::sync::Arc;

use kes_config::VaultKeystore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Why there is no TLS client.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refuses its settings.
    #[error("TLS settings do not fit together")]
    Settings(#[source] rustls::Error),
    /// A certificate of `ca` cannot be a trust anchor.
    #[error("ca holds a certificate that cannot be used")]
    Anchor(#[source] rustls::Error),
    /// The system has no trust anchors.
    #[error("the system has no root certificates; set ca")]
    NoSystemRoots,
    /// The client's private key cannot be used.
    #[error("key holds a private key of a kind that is not known: {0}")]
    Key(&'static str),
    /// The client's certificate and its key do not serve together.
    #[error("cert and key do not make a client certificate")]
    Identity(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3 on aws-lc-rs; the certificates of the settings, or the system's trust anchors.
pub(crate) fn client_config(settings: &VaultKeystore) -> Result<ClientConfig, TlsError> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
        aws_lc_rs::kx_group::SECP384R1,
    ];
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Settings)?
        .with_root_certificates(roots(settings.ca.as_deref())?);
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let chain = client.chain.iter().map(|der| CertificateDer::from(der.clone()));
            let key = PrivateKeyDer::try_from(client.key.der().expose().to_vec());
            builder
                .with_client_auth_cert(chain.collect(), key.map_err(TlsError::Key)?)
                .map_err(TlsError::Identity)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(anchors: Option<&[Vec<u8>]>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(anchors) = anchors {
        for der in anchors {
            roots.add(CertificateDer::from(der.clone())).map_err(TlsError::Anchor)?;
        }
        return Ok(roots);
    }
    // Some of the system's files are never usable; what counts is that there are others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
}
