//! Verifies the clients of the server, with or without their certificates (`tls.auth`).

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DistinguishedName, Error};

use crate::chain::Rules;
use crate::purpose::Purpose;
use crate::signature;
use crate::trust_store::TrustStore;

/// Verifies the handshake signature of a client, and its certificate unless any is accepted.
#[derive(Debug)]
pub struct ClientVerifier {
    /// `None` accepts any certificate, also an expired or self-signed one.
    rules: Option<Rules>,
    algorithms: WebPkiSupportedAlgorithms,
    is_mandatory: bool,
}

impl ClientVerifier {
    /// Makes a verifier of certificates: trusted or issued by a trusted CA, valid now, and for client
    /// authentication. Without `is_mandatory` a client may send no certificate.
    pub fn new(trust: TrustStore, provider: &CryptoProvider, is_mandatory: bool) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        let rules = Rules { trust, algorithms, purpose: Purpose::Client };
        Self { rules: Some(rules), algorithms, is_mandatory }
    }

    /// Makes a verifier that accepts any certificate: the public key is the identity, which the handshake
    /// signature proves. Without `is_mandatory` a client may send no certificate.
    pub fn any(provider: &CryptoProvider, is_mandatory: bool) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        Self { rules: None, algorithms, is_mandatory }
    }

    /// Verifies a chain that was not sent in a handshake, in DER, the client's own certificate first.
    pub fn verify_chain(&self, chain: &[Vec<u8>], now: UnixTime) -> Result<(), Error> {
        let mut chain = chain.iter().map(|der| CertificateDer::from(der.as_slice()));
        let leaf = chain.next().ok_or(Error::NoCertificatesPresented)?;
        let further: Vec<_> = chain.collect();
        self.verify(&leaf, &further, now)
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        further: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        match &self.rules {
            Some(rules) => Ok(rules.verify(leaf, further, now)?),
            None => Ok(()),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    /// Returns no hints: a client with one certificate sends it in any case.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    signature::verify_signatures!();
}
