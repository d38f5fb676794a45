//! Writes messages about key material that cannot be used as it is, and what to do about it.

use std::fmt;
use std::path::Path;

use kes_crypto::pem::{KeyAlgorithm, Material, PrivateKey};

/// The content that is expected of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A private key in PEM.
    PrivateKey,
    /// One certificate or more in PEM.
    Certificate,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateKey => "private key",
            Self::Certificate => "certificate",
        })
    }
}

/// Describes what a file holds, and what is expected of it instead. `shown` is
/// the file's name in the text; `path` is that for commands, none where it must not be shown.
pub fn instead(shown: &str, material: Material, wanted: Wanted, path: Option<&Path>) -> String {
    let path = path.and_then(Path::to_str).filter(|path| path.bytes().all(is_plain));
    let file = path.unwrap_or("FILE");
    let convert = |command: String| format!("PEM is wanted: `{command}`");
    let what = match (wanted, material) {
        (Wanted::PrivateKey, Material::DerPrivateKey | Material::DerEncryptedKey) => {
            convert(format!("openssl pkey -inform der -in {file} -out NEW"))
        }
        (Wanted::PrivateKey, Material::Pkcs12) => {
            convert(format!("openssl pkcs12 -in {file} -nocerts -nodes -out NEW"))
        }
        (Wanted::PrivateKey, Material::OpenSshKey) => {
            convert(format!("ssh-keygen -p -m PKCS8 -f {file}"))
        }
        (Wanted::PrivateKey, Material::DsaKey) => FIT.to_owned(),
        (Wanted::Certificate, Material::DerCertificate) => {
            convert(format!("openssl x509 -inform der -in {file} -out NEW"))
        }
        (Wanted::Certificate, Material::TrustedCertificate) => {
            convert(format!("openssl x509 -in {file} -out NEW"))
        }
        (Wanted::Certificate, Material::Pkcs12) => {
            convert(format!("openssl pkcs12 -in {file} -nokeys -out NEW"))
        }
        (Wanted::Certificate, Material::Pkcs7) => {
            convert(format!("openssl pkcs7 -print_certs -in {file} -out NEW"))
        }
        (Wanted::Certificate, Material::DerPkcs7) => {
            convert(format!("openssl pkcs7 -inform der -print_certs -in {file} -out NEW"))
        }
        (Wanted::Certificate, Material::Request) => {
            "it wants the certificate that a CA makes of it".to_owned()
        }
        (_, Material::Utf16) => convert(format!("iconv -f UTF-16 -t UTF-8 {file} > NEW")),
        (_, Material::Empty) => format!("it wants a {wanted} in PEM"),
        _ => format!("it wants the {wanted} that goes with it, in PEM"),
    };
    format!("{shown} holds {material}; {what}")
}

/// Describes that TLS does not support the private key of a file, and which keys it supports; none if
/// it supports the key, or the algorithm of the key is not known.
pub fn unfit_key(shown: &str, key: &PrivateKey) -> Option<String> {
    unfit(&format!("{shown} holds a key"), KeyAlgorithm::of(key))
}

/// Describes that TLS does not support the key of a file's certificate, given in DER, and which keys it
/// supports; none if it supports the key, or the algorithm of the key is not known.
pub fn unfit_certificate(shown: &str, der: &[u8]) -> Option<String> {
    unfit(&format!("the certificate of {shown} is of a key"), KeyAlgorithm::of_certificate(der))
}

/// Describes that the first certificate of a file, given in DER, is that of another private key; none if
/// it belongs to the key, or if that is not known.
pub fn mismatch(shown: &str, der: &[u8], key: &PrivateKey) -> Option<String> {
    let is_of_another = kes_tls::keys_match(key.der(), der) == Some(false);
    is_of_another
        .then(|| format!("the first certificate of {shown} is not that of the private key"))
}

fn unfit(what: &str, algorithm: Option<KeyAlgorithm>) -> Option<String> {
    let algorithm = algorithm.filter(|algorithm| !algorithm.can_serve_tls())?;
    Some(format!("{what} that TLS does not take: {algorithm}; {FIT}"))
}

const FIT: &str = "it wants RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519, like \
                   `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW`";

/// Returns whether a byte has no special meaning in a shell.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"./_-+=:,@".contains(&byte)
}
