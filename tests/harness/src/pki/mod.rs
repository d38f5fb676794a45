//! Certificates of clients and servers, and the identities they stand for.

mod authority;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SignatureAlgorithm, date_time_ymd,
};
use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use tokio_rustls::TlsAcceptor;

pub use authority::Authority;

use crate::{b64, repository, unb64};

/// A certificate chain with the key of its first certificate.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.identity())
    }
}

struct Inner {
    chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    key: Vec<u8>,
    identity: String,
    api_key: Option<String>,
}

impl Credential {
    /// Generates an API key and its certificate.
    ///
    /// # Panics
    /// If the system has no random bytes.
    pub fn generate() -> Self {
        let mut key = [0; 33];
        SystemRandom::new().fill(&mut key[1..]).expect("the system has random bytes");
        Self::from_api_key(&format!("kes:v1:{}", b64(key)))
    }

    /// The certificate that a client makes from an API key when it starts: self-signed, Ed25519,
    /// CN is the identity, 90 days, digital signature, client authentication, no CA.
    pub fn from_api_key(api_key: &str) -> Self {
        let key = ed25519(&unb64(api_key.trim_start_matches("kes:v1:"))[1..]);
        let mut parts = Self::self_signed(&key, &client_params(&identity_of(&key)));
        parts.api_key = Some(api_key.to_owned());
        Self(Arc::new(parts))
    }

    /// Generates a key of an algorithm with a self-signed client certificate.
    ///
    /// # Panics
    /// If ring cannot make keys of that algorithm.
    pub fn of_algorithm(algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).expect("ring makes keys of this algorithm");
        Self(Arc::new(Self::self_signed(&key, &client_params("client"))))
    }

    /// Generates a client whose certificate is valid from the first day of one year to that of another.
    ///
    /// # Panics
    /// If the years are out of range.
    pub fn valid(from: i32, to: i32) -> Self {
        let key = ed25519_fresh();
        let mut params = client_params("client");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        Self(Arc::new(Self::self_signed(&key, &params)))
    }

    /// One of the certificates in `fixtures`, made with OpenSSL, whose identity OpenSSL computed.
    ///
    /// # Panics
    /// If the files are not what they were.
    pub fn fixture(name: &str, identity: &str) -> Self {
        let folder = repository().join("tests/fixtures");
        let file = |extension| folder.join(format!("{name}.{extension}"));
        Self::from_files(&file("crt"), &file("key"), identity)
    }

    /// Reads the certificates and the key of a client with this identity from PEM files.
    ///
    /// # Panics
    /// If they are not a certificate and a key.
    pub fn from_files(certificate: &Path, key: &Path, identity: &str) -> Self {
        let chain = CertificateDer::pem_file_iter(certificate).expect("the certificate is there");
        let key = PrivateKeyDer::from_pem_file(key).expect("the key is there");
        Self(Arc::new(Inner {
            chain: chain.collect::<Result<_, _>>().expect("the certificate is PEM"),
            key: key.secret_der().to_vec(),
            identity: identity.to_owned(),
            api_key: None,
        }))
    }

    /// Returns clients with keys that the certificate library cannot make: P-521 and RSA of 2048 bits.
    pub fn fixtures() -> [Self; 2] {
        [Self::fixture("p521", P521_IDENTITY), Self::fixture("rsa2048", RSA2048_IDENTITY)]
    }

    /// Returns a client with this key that shows another chain.
    #[must_use]
    pub fn with_chain(&self, chain: &[&CertificateDer<'static>]) -> Self {
        Self(Arc::new(Inner {
            chain: chain.iter().map(|certificate| (*certificate).clone()).collect(),
            key: self.0.key.clone(),
            identity: self.0.identity.clone(),
            api_key: None,
        }))
    }

    /// The first certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.chain[0]
    }

    /// A self-signed certificate that says all that a certificate made from `other`'s API key says,
    /// but with this one's key.
    ///
    /// # Panics
    /// If the key is of a kind that the certificate library cannot use.
    pub fn twin_of(&self, other: &Self) -> CertificateDer<'static> {
        let key = KeyPair::try_from(self.0.key.as_slice()).expect("the key was made by it");
        let certificate = client_params(other.identity()).self_signed(&key);
        certificate.expect("the parameters are sound").der().clone()
    }

    /// The certificates, in the order in which they are sent.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.0.chain.clone()
    }

    /// The private key, PKCS#8.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.key.clone()).into()
    }

    /// The identity of the key: lowercase hex SHA-256 of its `SubjectPublicKeyInfo`.
    pub fn identity(&self) -> &str {
        &self.0.identity
    }

    /// The API key, for credentials that were made from one.
    ///
    /// # Panics
    /// If it was not.
    pub fn api_key(&self) -> &str {
        self.0.api_key.as_deref().expect("made from an API key")
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        self.0.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The private key as PEM.
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.0.key)
    }

    /// Returns a TLS acceptor with this certificate, which requests no client certificate.
    ///
    /// # Panics
    /// If the certificate is not a server's.
    pub fn acceptor(&self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks them")
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.key())
            .expect("the certificate is sound");
        TlsAcceptor::from(Arc::new(config))
    }

    fn self_signed(key: &KeyPair, params: &CertificateParams) -> Inner {
        let certificate = params.self_signed(key).expect("the parameters are sound");
        Inner {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
            identity: identity_of(key),
            api_key: None,
        }
    }
}

/// Makes a self-signed server certificate (P-256) for these DNS names and addresses.
///
/// # Panics
/// If a name is not a name.
pub fn server(names: &[&str]) -> Credential {
    server_with(names, |_| {})
}

/// Makes a self-signed server certificate with changed parameters.
///
/// # Panics
/// If a name is not a name.
pub fn server_with(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Credential {
    let key = KeyPair::generate().expect("ring makes P-256 keys");
    let mut params = server_params(names);
    change(&mut params);
    Credential(Arc::new(Credential::self_signed(&key, &params)))
}

/// Makes a self-signed server certificate that is marked CA, as `openssl req -x509` does by default.
///
/// # Panics
/// If a name is not a name.
pub fn server_marked_ca(names: &[&str]) -> Credential {
    server_with(names, |params| {
        params.extended_key_usages = Vec::new();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    })
}

const P521_IDENTITY: &str = "1e64ad29f915ff4797f6b35676100a0899ee7bb3b8ae4423d4c17c5197460294";
const RSA2048_IDENTITY: &str = "39023218abafd203b3b842017d6c7feea47685bac3ae03345851d67a1839fc15";

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are sound");
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// Valid from so many days from now, until so many days from now.
fn with_days(mut params: CertificateParams, (from, to): (i64, i64)) -> CertificateParams {
    let now = OffsetDateTime::now_utc();
    params.not_before = now + time::Duration::days(from);
    params.not_after = now + time::Duration::days(to) + time::Duration::hours(1);
    params
}

fn client_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn ed25519_fresh() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("ring makes Ed25519 keys")
}

/// RFC 8410 §7: PKCS#8 of a 32-byte seed.
fn ed25519(seed: &[u8]) -> KeyPair {
    const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let der = [&HEAD, seed].concat();
    KeyPair::try_from(der).expect("a seed has 32 bytes")
}

fn identity_of(key: &KeyPair) -> String {
    let spki = key.subject_public_key_info();
    hex::encode(digest::digest(&digest::SHA256, &spki))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = b64(der);
    let mut lines = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.push_str(&String::from_utf8_lossy(line));
        lines.push('\n');
    }
    lines + &format!("-----END {label}-----\n")
}
