//! TLS towards the server; the one module that names rustls.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use kes_types::Secret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, crypto,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::connector::ConnectError;

/// What a client shows of itself: a certificate chain and the private key of its first certificate.
#[derive(Clone)]
pub struct ClientIdentity {
    chain: Vec<Vec<u8>>,
    key: Secret,
}

impl ClientIdentity {
    /// Takes DER: the certificates, the client's own first, and its private key as PKCS#8, PKCS#1
    /// or SEC1. What is wrong with them shows in [`Client::new`](crate::Client::new).
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
    /// Those whose certificate a trust anchor of the operating system vouches for. `SSL_CERT_FILE`
    /// and `SSL_CERT_DIR` replace the system's anchors.
    SystemRoots,
    /// Those whose certificate is, or is vouched for by, one of these, in DER.
    Certificates(Vec<Vec<u8>>),
    /// Anyone. The connection is encrypted, but to whom is not known.
    Insecure,
}

/// Why a client cannot be made of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is no server to talk to.
    #[error("no server address is given")]
    NoEndpoint,
    /// The certificate or the private key cannot be used, or they do not belong together.
    #[error("the client's certificate or private key cannot be used")]
    Identity(#[source] Box<dyn Error + Send + Sync>),
    /// The operating system has no trust anchors.
    #[error("no trusted certificates are found on this system")]
    NoSystemRoots(#[source] Option<Box<dyn Error + Send + Sync>>),
    /// A certificate to be trusted is none.
    #[error("a certificate to be trusted cannot be read")]
    Root(#[source] Box<dyn Error + Send + Sync>),
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
}

/// Makes the client's side of TLS handshakes.
#[derive(Clone)]
pub(crate) struct TlsClient(TlsConnector);

impl TlsClient {
    /// TLS 1.2 and 1.3, h2 before HTTP/1.1, no resumption: a resumed connection shows no
    /// certificate.
    pub(crate) fn new(identity: &ClientIdentity, trust: &ServerTrust) -> Result<Self, SetupError> {
        let key = PrivateKeyDer::try_from(identity.key.expose().to_vec())
            .map_err(|reason| SetupError::Identity(reason.into()))?;
        let chain = identity.chain.iter().cloned().map(CertificateDer::from).collect();
        let mut config = trusting(trust)?
            .with_client_auth_cert(chain, key)
            .map_err(|error| SetupError::Identity(error.into()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Shakes hands with the server that is expected at `host`.
    pub(crate) async fn handshake(
        &self,
        host: &str,
        tcp: TcpStream,
    ) -> Result<TlsStream, ConnectError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| ConnectError::Tcp(Arc::new(io::Error::other(error))))?;
        self.0.connect(name, tcp).await.map(TlsStream).map_err(|error| {
            if is_untrusted(&error) {
                ConnectError::Untrusted(Arc::new(error))
            } else {
                ConnectError::Tls(Arc::new(error))
            }
        })
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

/// A connection on which the handshake is done.
#[derive(Debug)]
pub(crate) struct TlsStream(pub(crate) tokio_rustls::client::TlsStream<TcpStream>);

impl TlsStream {
    /// Whether the server chose h2.
    pub(crate) fn is_h2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

/// The configuration but for the client's certificate.
fn trusting(
    trust: &ServerTrust,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, SetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Tls(error.into()))?;
    let roots = match trust {
        ServerTrust::SystemRoots => system_roots()?,
        ServerTrust::Certificates(certificates) => roots_of(certificates)?,
        ServerTrust::Insecure => {
            let verifier = Arc::new(TrustAnyone::new(&provider));
            return Ok(builder.dangerous().with_custom_certificate_verifier(verifier));
        }
    };
    Ok(builder.with_root_certificates(roots))
}

/// Reads the system's trust anchors; those that cannot be read are passed over.
fn system_roots() -> Result<RootCertStore, SetupError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found.errors.into_iter().next().map(Into::into);
        return Err(SetupError::NoSystemRoots(reason));
    }
    Ok(roots)
}

fn roots_of(certificates: &[Vec<u8>]) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    for der in certificates {
        let certificate = CertificateDer::from(der.clone());
        roots.add(certificate).map_err(|error| SetupError::Root(error.into()))?;
    }
    Ok(roots)
}

/// Whether the handshake failed for the server's certificate.
fn is_untrusted(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// Takes any certificate whose private key the server has.
#[derive(Debug)]
struct TrustAnyone(WebPkiSupportedAlgorithms);

impl TrustAnyone {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
