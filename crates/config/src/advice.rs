//! What to do about key material that is of no use as it is.

use std::fmt;
use std::path::Path;

use kes_crypto::pem::{KeyAlgorithm, Material};

/// What a file is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
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

/// What to say of a file that holds something else; `path` is none where it must not be shown.
pub(crate) fn instead(
    shown: &str,
    material: Material,
    wanted: Wanted,
    path: Option<&Path>,
) -> String {
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

/// What to say of a key that TLS does not take.
pub(crate) fn unfit(what: &str, algorithm: &KeyAlgorithm) -> String {
    format!("{what} that TLS does not take: {algorithm}; {FIT}")
}

const FIT: &str = "it wants RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519, like \
                   `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW`";

/// Whether a byte means nothing to a shell.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"./_-+=:,@".contains(&byte)
}
