//! Self-signed certificates made from API keys.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use kes_types::{Random, RandomFailed, Secret};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::dns_name::check_dns_name;
use crate::pem::{self, PrivateKey, PrivateKeyKind};
use crate::{ApiKey, InvalidApiKey};

/// The validity of a client certificate.
const CLIENT_VALIDITY: Duration = Duration::from_hours(90 * 24);

/// The last second that a certificate can name: that of the year 9999 (RFC 5280, 4.1.2.5).
const UNIX_SECONDS_MAX: u64 = 253_402_300_799;

const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];

/// An empty `SEQUENCE`: `cA` is FALSE, its default.
const NOT_A_CA: [u8; 2] = [0x30, 0x00];

/// The DER of a PKCS#8 `PrivateKeyInfo` up to the Ed25519 seed (RFC 8410).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// The contents of a certificate to be issued.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    /// The subject's common name; empty for none.
    pub subject: String,
    /// DNS names that it is valid for.
    pub dns_names: Vec<String>,
    /// IP addresses that it is valid for.
    pub ip_addresses: Vec<IpAddr>,
    /// The begin of its validity, to the second.
    pub not_before: SystemTime,
    /// The length of its validity, to the second.
    pub validity: Duration,
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    certificate_der: Vec<u8>,
    private_key: PrivateKey,
}

impl ApiKey {
    /// Makes the certificate that a client with this API key sends.
    ///
    /// Its common name is the identity; it is for client authentication and valid for 90 days from `now`.
    pub fn client_certificate(
        &self,
        random: &dyn Random,
        now: SystemTime,
    ) -> Result<IssuedCertificate, IssueError> {
        let request = CertificateRequest {
            subject: self.identity().to_string(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            not_before: now,
            validity: CLIENT_VALIDITY,
        };
        self.issue(&request, vec![ExtendedKeyUsagePurpose::ClientAuth], random)
    }

    /// Makes a certificate for client and server authentication.
    pub fn certificate(
        &self,
        request: &CertificateRequest,
        random: &dyn Random,
    ) -> Result<IssuedCertificate, IssueError> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(request, usages, random)
    }

    fn issue(
        &self,
        request: &CertificateRequest,
        usages: Vec<ExtendedKeyUsagePurpose>,
        random: &dyn Random,
    ) -> Result<IssuedCertificate, IssueError> {
        let mut serial = [0; 16];
        random.fill(&mut serial)?;
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = validity(request)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.subject_alt_names = alternative_names(request)?;
        params.distinguished_name = DistinguishedName::new();
        if !request.subject.is_empty() {
            params.distinguished_name.push(DnType::CommonName, request.subject.as_str());
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.custom_extensions = vec![not_a_ca()];
        let signer = Signer(self.key_pair()?);
        let certificate = params.self_signed(&signer).map_err(IssueError::Encoding)?;
        Ok(IssuedCertificate {
            certificate_der: certificate.der().to_vec(),
            private_key: self.private_key(),
        })
    }

    /// Returns the key in PKCS#8.
    fn private_key(&self) -> PrivateKey {
        let mut der = Zeroizing::new(Vec::with_capacity(PKCS8_HEAD.len() + self.seed().len()));
        der.extend_from_slice(&PKCS8_HEAD);
        der.extend_from_slice(self.seed());
        PrivateKey::new(Secret::new(std::mem::take(&mut der)), PrivateKeyKind::Pkcs8)
    }
}

impl IssuedCertificate {
    /// The certificate in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// The certificate in PEM.
    pub fn certificate_pem(&self) -> String {
        pem::certificate(&self.certificate_der)
    }

    /// The private key, in PKCS#8.
    pub fn private_key(&self) -> &PrivateKey {
        &self.private_key
    }

    /// The private key in PEM, not encrypted; [`pem::encrypt`] makes an encrypted one.
    pub fn private_key_pem(&self) -> Secret {
        self.private_key.to_pem()
    }
}

/// Returns basic constraints for a certificate that is not a CA's.
///
/// With its own basic constraints `rcgen` would add a subject key identifier, which client certificates
/// do not have.
fn not_a_ca() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&BASIC_CONSTRAINTS, NOT_A_CA.to_vec());
    extension.set_criticality(true);
    extension
}

fn validity(request: &CertificateRequest) -> Result<(OffsetDateTime, OffsetDateTime), IssueError> {
    let since_epoch = request.not_before.duration_since(SystemTime::UNIX_EPOCH);
    let begin = since_epoch.map_err(|_| IssueError::Validity)?.as_secs();
    let end = begin.saturating_add(request.validity.as_secs());
    Ok((date(begin)?, date(end)?))
}

fn date(unix_seconds: u64) -> Result<OffsetDateTime, IssueError> {
    if unix_seconds > UNIX_SECONDS_MAX {
        return Err(IssueError::Validity);
    }
    OffsetDateTime::from_unix_timestamp(unix_seconds.cast_signed())
        .map_err(|_| IssueError::Validity)
}

fn alternative_names(request: &CertificateRequest) -> Result<Vec<SanType>, IssueError> {
    let names = request.dns_names.iter().map(|name| match Ia5String::try_from(name.as_str()) {
        Ok(ascii) if check_dns_name(name).is_ok() => Ok(SanType::DnsName(ascii)),
        _ => Err(IssueError::DnsName(name.clone())),
    });
    names.chain(request.ip_addresses.iter().map(|ip| Ok(SanType::IpAddress(*ip)))).collect()
}

/// A signer for `rcgen`, boxed so that the allocator wipes the key when it is freed.
struct Signer(Box<Ed25519KeyPair>);

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

/// The reasons why a certificate cannot be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// There are no random bytes.
    #[error("cannot make a serial number")]
    Random(#[from] RandomFailed),
    /// A name is not a DNS name.
    #[error("'{0}' is not a host name")]
    DnsName(String),
    /// The validity begins before 1970 or ends after 9999.
    #[error("the validity does not lie between the years 1970 and 9999")]
    Validity,
    /// The key cannot sign.
    #[error("the API key cannot sign")]
    Key(#[from] InvalidApiKey),
    /// The certificate cannot be encoded.
    #[error("cannot write the certificate")]
    Encoding(#[source] rcgen::Error),
}
