//! Verifies the servers that this process connects to: Vault, AWS, proxies, key servers.

use rustls::Error;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::chain::{self, Rules};
use crate::purpose::Purpose;
use crate::signature;
use crate::trust_store::TrustStore;

/// Verifies the handshake signature of a server, and its certificate unless any is accepted.
#[derive(Debug)]
pub struct ServerVerifier {
    /// `None` accepts any certificate for any name.
    rules: Option<Rules>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    /// Makes a verifier of certificates: trusted or issued by a trusted CA, valid now, for server
    /// authentication, and for the requested name.
    pub fn new(trust: TrustStore, provider: &CryptoProvider) -> Self {
        let algorithms = provider.signature_verification_algorithms;
        let rules = Rules { trust, algorithms, purpose: Purpose::Server };
        Self { rules: Some(rules), algorithms }
    }

    /// Makes a verifier that accepts any certificate whose private key the server has.
    ///
    /// The connection is encrypted, but the server is not authenticated.
    pub fn any(provider: &CryptoProvider) -> Self {
        Self { rules: None, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(rules) = &self.rules {
            rules.verify(leaf, intermediates, now)?;
            verify_server_name(&chain::parse_names(leaf)?, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    signature::verify_signatures!();
}
