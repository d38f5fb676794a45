//! Clients whose certificate is checked: `tls.auth: on`.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::chain::Rules;
use crate::purpose::Purpose;
use crate::signature;
use crate::trust_store::TrustStore;

/// Verifies client certificates: trusted themselves or issued by a trusted authority, valid now, and
/// usable for client authentication.
#[derive(Debug)]
pub struct ClientVerifier {
    rules: Rules,
    is_mandatory: bool,
}

impl ClientVerifier {
    /// Without `is_mandatory` a client may show no certificate at all.
    pub fn new(trust: TrustStore, provider: &CryptoProvider, is_mandatory: bool) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { rules: Rules { trust, algorithms, purpose: Purpose::Client }, is_mandatory }
    }

    /// Verifies a chain that was not shown in a handshake, in DER, the client's own certificate first.
    pub fn verify_chain(&self, chain: &[Vec<u8>], now: UnixTime) -> Result<(), Error> {
        let mut chain = chain.iter().map(|der| CertificateDer::from(der.as_slice()));
        let leaf = chain.next().ok_or(Error::NoCertificatesPresented)?;
        let further: Vec<_> = chain.collect();
        Ok(self.rules.verify(&leaf, &further, now)?)
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    /// No hints: a client that has one certificate shows it whatever they say.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.rules.verify(leaf, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::verify_tls12(&self.rules.algorithms, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signature::verify_tls13(&self.rules.algorithms, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.algorithms.supported_schemes()
    }
}
