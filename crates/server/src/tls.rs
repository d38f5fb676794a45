//! TLS as the server speaks it. The only module of this crate that knows certificates' rules.

use std::fmt;
use std::sync::Arc;

use kes_config::{ClientAuth, Tls};
use kes_crypto::pem::PrivateKeyKind;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use webpki::RawPublicKeyEntity;

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate chain and the private key do not serve together.
    #[error("tls.cert and tls.key do not make a server certificate")]
    Certificate(#[source] Error),
    /// No trust anchors to check client certificates against.
    #[error("tls.ca holds no usable certificate")]
    TrustAnchors(#[source] Error),
    /// The system has no trust anchors.
    #[error("the system has no root certificates; set tls.ca")]
    NoSystemRoots,
    /// The client certificate verifier cannot be built.
    #[error("client certificates cannot be verified with tls.ca")]
    Verifier(#[source] VerifierBuilderError),
    /// The TLS library refuses its settings.
    #[error("TLS settings do not fit together")]
    Settings(#[source] Error),
}

/// TLS 1.2 and 1.3, a client certificate asked for, no resumption: every connection shows its
/// certificate. With `is_certificate_optional` a client may show none.
pub(crate) fn server_config(
    tls: &Tls,
    is_certificate_optional: bool,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = provider();
    let verifier: Arc<dyn ClientCertVerifier> = match tls.auth {
        ClientAuth::Off => Arc::new(AnyCertificate {
            algorithms: provider.signature_verification_algorithms,
            is_mandatory: !is_certificate_optional,
        }),
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
    // A resumed session would not show the client's certificate again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// aws-lc-rs with the post-quantum hybrid first.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
            kx_group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}

fn chain_verifier(tls: &Tls, is_optional: bool) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(certificates) = &tls.ca {
        for der in certificates {
            roots.add(CertificateDer::from(der.clone())).map_err(TlsError::TrustAnchors)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoSystemRoots);
        }
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
    // No hints: clients that have one certificate show it whatever they say.
    builder.clear_root_hint_subjects().build().map_err(TlsError::Verifier)
}

/// Checks the chain of certificates that a TLS proxy forwards.
#[derive(Clone)]
pub(crate) struct ForwardedChain(Arc<dyn ClientCertVerifier>);

impl ForwardedChain {
    /// None with `tls.auth: off`: possession of the key is the proof, and the proxy vouches for it.
    pub(crate) fn new(tls: &Tls) -> Result<Option<Self>, TlsError> {
        match tls.auth {
            ClientAuth::Off => Ok(None),
            ClientAuth::On => chain_verifier(tls, false).map(|verifier| Some(Self(verifier))),
        }
    }

    /// Whether the first certificate chains up to a trust anchor through the others, for client
    /// authentication, now.
    pub(crate) fn check(&self, chain_der: &[Vec<u8>]) -> Result<(), Error> {
        let mut chain = chain_der.iter().map(|der| CertificateDer::from(der.as_slice()));
        let first = chain.next().ok_or(CertificateError::BadEncoding)?;
        let further: Vec<_> = chain.collect();
        self.0.verify_client_cert(&first, &further, UnixTime::now()).map(drop)
    }
}

impl fmt::Debug for ForwardedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardedChain")
    }
}

/// The public key alone: certificates of version 1 and with unknown extensions are as good as any.
fn public_key(
    certificate: &CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
    let key = kes_crypto::certificate_public_key(certificate);
    key.map(SubjectPublicKeyInfoDer::from).map_err(|_| CertificateError::BadEncoding)
}

/// Takes any client certificate, expired or self-signed: the identity is the public key, and its
/// proof the handshake signature, which is verified.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    is_mandatory: bool,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        // TLS 1.2 leaves the curve open: a scheme stands for an algorithm per curve.
        let schemes = self.algorithms.mapping.iter();
        let mut algorithms = schemes
            .filter(|(scheme, _)| *scheme == signature.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter());
        let is_valid = algorithms.any(|algorithm| {
            key.verify_signature(*algorithm, message, signature.signature()).is_ok()
        });
        if is_valid {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = public_key(certificate)?;
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
