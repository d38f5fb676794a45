//! Checks the extended key usage of certificates (RFC 5280, 4.2.1.12).

use webpki::{
    Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};
use x509_parser::certificate::X509Certificate;

/// `anyExtendedKeyUsage`, 2.5.29.37.0, in DER without its header.
const ANY: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0x00]);
/// `id-kp-serverAuth`, 1.3.6.1.5.5.7.3.1.
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// `id-kp-clientAuth`, 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// The role of the peer that a certificate is verified for.
///
/// A certificate without extended key usages is valid for both roles, and so is one for any usage: Go
/// accepts the latter, webpki's own validator does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Server,
    Client,
}

impl Purpose {
    fn oid(self) -> &'static [u8] {
        match self {
            Self::Server => SERVER_AUTH,
            Self::Client => CLIENT_AUTH,
        }
    }

    /// Checks whether a certificate that `x509-parser` has parsed may be used in this role.
    pub(crate) fn check(self, certificate: &X509Certificate<'_>) -> Result<(), Error> {
        // An extension that cannot be read, or that occurs twice, permits nothing.
        let usage = certificate.extended_key_usage().map_err(|_| Error::MalformedExtensions)?;
        let Some(usage) = usage.map(|extension| extension.value) else { return Ok(()) };
        let is_named = match self {
            Self::Server => usage.server_auth,
            Self::Client => usage.client_auth,
        };
        if is_named || usage.any { Ok(()) } else { Err(self.missing(Vec::new())) }
    }

    pub(crate) fn missing(self, present: Vec<Vec<usize>>) -> Error {
        let required = KeyUsage::required_if_present(self.oid());
        Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present })
    }
}

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let wanted = KeyPurposeId::new(self.oid());
        let mut present = Vec::new();
        for usage in usages {
            let usage = usage?;
            if usage == wanted || usage == ANY {
                return Ok(());
            }
            present.push(usage.to_decoded_oid());
        }
        if present.is_empty() { Ok(()) } else { Err(self.missing(present)) }
    }
}
