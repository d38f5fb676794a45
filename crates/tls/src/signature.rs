//! Verifies signatures of handshakes with the public key of the peer's certificate.
//!
//! Only the public key is used, not the certificate around it, so its version and extensions do not matter
//! where the chain is not verified. The parser is the one that computes identities: two parsers that
//! disagree about where the public key is would let one caller be taken for another.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{CertificateError, DigitallySignedStruct, Error};
use webpki::RawPublicKeyEntity;

fn public_key(
    certificate: &CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, CertificateError> {
    let key = kes_crypto::certificate_public_key(certificate);
    key.map(SubjectPublicKeyInfoDer::from).map_err(|_| CertificateError::BadEncoding)
}

/// Verifies a handshake signature of TLS 1.2.
pub(crate) fn verify_tls12(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = public_key(certificate)?;
    let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
    // TLS 1.2 does not fix the curve: a scheme stands for one algorithm per curve.
    let schemes = algorithms.mapping.iter();
    let mut candidates = schemes
        .filter(|(scheme, _)| *scheme == signature.scheme)
        .flat_map(|(_, algorithms)| algorithms.iter());
    let is_valid = candidates
        .any(|algorithm| key.verify_signature(*algorithm, message, signature.signature()).is_ok());
    if is_valid {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

/// Verifies a handshake signature of TLS 1.3.
pub(crate) fn verify_tls13(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = public_key(certificate)?;
    verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
}

/// Defines the methods of a rustls verifier that verify handshake signatures with its field `algorithms`.
macro_rules! verify_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &::rustls::pki_types::CertificateDer<'_>,
            signature: &::rustls::DigitallySignedStruct,
        ) -> Result<::rustls::client::danger::HandshakeSignatureValid, ::rustls::Error> {
            $crate::signature::verify_tls12(&self.algorithms, message, certificate, signature)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &::rustls::pki_types::CertificateDer<'_>,
            signature: &::rustls::DigitallySignedStruct,
        ) -> Result<::rustls::client::danger::HandshakeSignatureValid, ::rustls::Error> {
            $crate::signature::verify_tls13(&self.algorithms, message, certificate, signature)
        }

        fn supported_verify_schemes(&self) -> Vec<::rustls::SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}
pub(crate) use verify_signatures;
