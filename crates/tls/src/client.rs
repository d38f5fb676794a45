//! The TLS configuration of all clients in this process.

use std::fmt;
use std::sync::Arc;

use kes_types::Secret;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::provider::provider;
use crate::server_verifier::ServerVerifier;
use crate::trust_store::{TrustStore, TrustStoreError};

/// The credentials of a TLS client: a certificate chain and the private key of its first certificate.
#[derive(Clone)]
pub struct ClientIdentity {
    chain: Vec<Vec<u8>>,
    key: Secret,
}

impl ClientIdentity {
    /// Makes an identity of DER: the certificates, the client's own first, and its private key as PKCS#8,
    /// PKCS#1 or SEC1. [`client_config`] checks them.
    pub fn new(chain: Vec<Vec<u8>>, key: Secret) -> Self {
        Self { chain, key }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[identity of {} certificates]", self.chain.len())
    }
}

/// The servers that a client trusts.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// Servers that the operating system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace its list.
    SystemRoots,
    /// Servers that the operating system trusts, if it has a list, and those of
    /// [`Certificates`](Self::Certificates).
    SystemRootsAnd(Vec<Vec<u8>>),
    /// Servers whose certificate is in this list, or was issued by a certificate of it; in DER.
    Certificates(Vec<Vec<u8>>),
    /// Any server: the connection is encrypted, but the server is not authenticated.
    Insecure,
}

/// The reasons why the TLS configuration of a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// There are no trusted certificates.
    #[error("there are no trusted certificates to verify the server with")]
    Trust(#[source] TrustStoreError),
    /// The private key has an unknown format.
    #[error("the client's private key cannot be used: {0}")]
    Key(&'static str),
    /// The certificate and the private key do not match, or cannot be used.
    #[error("the client's certificate and private key cannot be used")]
    Identity(#[source] rustls::Error),
    /// The TLS library does not accept the settings.
    #[error("TLS cannot be set up")]
    Settings(#[source] rustls::Error),
}

/// Makes the TLS configuration of a client: TLS 1.2 and 1.3, h2 before HTTP/1.1, no session resumption.
///
/// Without resumption every connection sends the client's certificate.
pub fn client_config(
    trust: &ServerTrust,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, ClientTlsError> {
    let provider = provider();
    let store = match trust {
        ServerTrust::SystemRoots => Some(TrustStore::system()),
        ServerTrust::SystemRootsAnd(certificates) => Some(TrustStore::system_and(certificates)),
        ServerTrust::Certificates(certificates) => Some(TrustStore::of(certificates)),
        ServerTrust::Insecure => None,
    };
    let verifier: Arc<dyn ServerCertVerifier> = match store {
        Some(store) => {
            let store = store.map_err(ClientTlsError::Trust)?;
            Arc::new(ServerVerifier::new(store, &provider))
        }
        None => Arc::new(ServerVerifier::any(&provider)),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(ClientTlsError::Settings)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(ClientIdentity { chain, key }) => {
            let chain = chain.iter().cloned().map(CertificateDer::from).collect();
            let key =
                PrivateKeyDer::try_from(key.expose().to_vec()).map_err(ClientTlsError::Key)?;
            builder.with_client_auth_cert(chain, key).map_err(ClientTlsError::Identity)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
