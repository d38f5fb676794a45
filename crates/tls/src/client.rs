//! The TLS configuration of everything that is a client here.

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

/// What a client shows of itself: a certificate chain and the private key of its first certificate.
#[derive(Clone)]
pub struct ClientIdentity {
    chain: Vec<Vec<u8>>,
    key: Secret,
}

impl ClientIdentity {
    /// Takes DER: the certificates, the client's own first, and its private key as PKCS#8, PKCS#1 or
    /// SEC1. What is wrong with them shows in [`client_config`].
    pub fn new(chain: Vec<Vec<u8>>, key: Secret) -> Self {
        Self { chain, key }
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[identity of {} certificates]", self.chain.len())
    }
}

/// Which servers a client trusts.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// Those that the operating system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace its list.
    SystemRoots,
    /// Those that the operating system trusts, and those of a list as in
    /// [`Certificates`](Self::Certificates). The system need not trust any.
    SystemRootsAnd(Vec<Vec<u8>>),
    /// Those whose certificate is one of these, or was issued by one of them, in DER.
    Certificates(Vec<Vec<u8>>),
    /// Any. The connection is encrypted, but to whom is not known.
    Insecure,
}

/// Why there is no TLS configuration of a client.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// There is nothing to trust.
    #[error("there are no trusted certificates to verify the server with")]
    Trust(#[source] TrustStoreError),
    /// The private key is of a form that is not known.
    #[error("the client's private key cannot be used: {0}")]
    Key(&'static str),
    /// The certificate and the private key do not belong together, or cannot be used.
    #[error("the client's certificate and private key cannot be used")]
    Identity(#[source] rustls::Error),
    /// The TLS library refuses its settings.
    #[error("TLS cannot be set up")]
    Settings(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3, h2 before HTTP/1.1, no session resumption: every connection shows the client's
/// certificate.
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
