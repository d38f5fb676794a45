//! A certificate authority for clients and servers.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use tokio_rustls::TlsAcceptor;

use super::{
    Credential, Inner, client_params, ed25519_fresh, identity_of, pem, server_params, with_days,
};

/// An authority that issues client certificates.
pub struct Authority {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Generates an authority with an Ed25519 key.
    ///
    /// # Panics
    /// If the system has no random bytes.
    pub fn new() -> Self {
        let (key, params) = (ed25519_fresh(), authority_params("authority"));
        let certificate = params.self_signed(&key).expect("the parameters are sound");
        Self::of(&certificate, key, params)
    }

    fn of(certificate: &Certificate, key: KeyPair, params: CertificateParams) -> Self {
        Self {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
            issuer: Issuer::new(params, key),
        }
    }

    /// An intermediate authority, signed by this one.
    ///
    /// # Panics
    /// If the system has no random bytes.
    #[must_use]
    pub fn subordinate(&self) -> Self {
        let (key, params) = (ed25519_fresh(), authority_params("subordinate"));
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are sound");
        Self::of(&certificate, key, params)
    }

    /// The authority's own certificate, marked CA.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The certificate as PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    /// Returns a client that shows `chain` and signs with the authority's own key.
    ///
    /// # Panics
    /// Never: the key was made by this library.
    pub fn as_client(&self, chain: &[&CertificateDer<'static>]) -> Credential {
        let key = KeyPair::try_from(self.key.as_slice()).expect("the key was just made");
        Credential(Arc::new(Inner {
            chain: chain.iter().map(|certificate| (*certificate).clone()).collect(),
            key: self.key.clone(),
            identity: identity_of(&key),
            api_key: None,
        }))
    }

    /// Issues a client certificate; the chain has no other.
    pub fn issue(&self) -> Credential {
        self.issue_until(4000)
    }

    /// Issues a server certificate for these DNS names and addresses.
    ///
    /// # Panics
    /// If a name is not a name.
    pub fn issue_server(&self, names: &[&str]) -> Credential {
        self.sign(&server_params(names))
    }

    /// Issues a server certificate that is valid from the first day on and before the second, counted from today.
    ///
    /// # Panics
    /// If a name is not a name.
    pub fn issue_server_for(&self, names: &[&str], days: (i64, i64)) -> Credential {
        self.sign(&with_days(server_params(names), days))
    }

    /// Makes another certificate of this authority's key, valid from the first day on and before the second.
    ///
    /// # Panics
    /// Never: the key was made by this library.
    pub fn certificate_for(&self, days: (i64, i64)) -> CertificateDer<'static> {
        let key = KeyPair::try_from(self.key.as_slice()).expect("the key was just made");
        let params = with_days(authority_params("authority"), days);
        params.self_signed(&key).expect("the parameters are sound").der().clone()
    }

    /// Returns a TLS acceptor for 127.0.0.1 with a certificate of this authority, which requests no client
    /// certificate.
    ///
    /// # Panics
    /// If the certificate cannot be made.
    pub fn acceptor(&self) -> TlsAcceptor {
        self.issue_server(&["127.0.0.1"]).acceptor()
    }

    /// Issues a client certificate that is valid until the first day of a year.
    ///
    /// # Panics
    /// If the year is out of range.
    pub fn issue_until(&self, year: i32) -> Credential {
        let mut params = client_params("issued");
        params.not_after = date_time_ymd(year, 1, 1);
        self.sign(&params)
    }

    /// Issues a client certificate with these extended key usages.
    pub fn issue_for(&self, usages: &[ExtendedKeyUsagePurpose]) -> Credential {
        let mut params = client_params("issued");
        params.extended_key_usages = usages.to_vec();
        self.sign(&params)
    }

    /// Issues a certificate with these parameters and a fresh key.
    fn sign(&self, params: &CertificateParams) -> Credential {
        let key = ed25519_fresh();
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are sound");
        Credential(Arc::new(Inner {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
            identity: identity_of(&key),
            api_key: None,
        }))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = client_params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = Vec::new();
    params
}
