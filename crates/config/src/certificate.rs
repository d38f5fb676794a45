//! Certificates and private keys that the configuration names files of.

use std::path::{Path, PathBuf};
use std::{fs, io};

use kes_crypto::pem::{self, PemError, PrivateKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::cursor::Text;
use crate::error::{Fault, Warnings};
use crate::file;
use crate::key_match;
use crate::suggest;

/// The longest PEM file, in bytes.
const PEM_BYTES_MAX: u64 = 4 << 20;

/// A private key and the certificates that go with it.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The private key.
    pub key: PrivateKey,
    /// The certificates in DER, the key's own first.
    pub chain: Vec<Vec<u8>>,
}

/// Reads the private key of a file; one without a place for its password must not be encrypted.
pub(crate) fn private_key(
    file: &Text<'_>,
    password: Option<&Text<'_>>,
    warnings: &mut Warnings,
) -> Result<PrivateKey, Fault> {
    let contents = read(file, Path::new(file.as_str()))?;
    if contents.is_open {
        let shown = file.shown();
        warnings.push(file.fault(format!(
            "others than the owner can read the private key {shown}; `chmod 600` keeps it private"
        )));
    }
    let secret = password.filter(|password| !password.is_empty()).map(Text::secret);
    let key = pem::private_key(&contents.bytes, secret.as_ref());
    key.map_err(|error| match (error, password) {
        (PemError::PasswordNeeded, Some(password)) => {
            password.missing("the password of the private key, which is encrypted")
        }
        (PemError::WrongPassword, Some(password)) => {
            password.fault(format!("does not decrypt the private key {}", file.shown()))
        }
        (other, _) => {
            let shown = file.shown();
            file.fault(format!("no private key can be taken from {shown}")).because(other)
        }
    })
}

/// Reads the certificates of a file, and checks that the first is that of the key.
pub(crate) fn chain(file: &Text<'_>, key: &PrivateKey) -> Result<Vec<Vec<u8>>, Fault> {
    let contents = read(file, Path::new(file.as_str()))?;
    let chain = certificates(file, Path::new(file.as_str()), &contents.bytes)?;
    if let Some(leaf) = chain.first() {
        let certificate = parse(file, Path::new(file.as_str()), leaf)?;
        if key_match::matches(key, certificate.public_key()) == Some(false) {
            let shown = file.shown();
            return Err(file.fault(format!(
                "the first certificate of {shown} is not that of the private key"
            )));
        }
    }
    Ok(chain)
}

/// Checks that the first certificate names the server in the way that clients look at.
pub(crate) fn check_server_names(file: &Text<'_>, chain: &[Vec<u8>]) -> Result<(), Fault> {
    let Some(leaf) = chain.first() else { return Ok(()) };
    let certificate = parse(file, Path::new(file.as_str()), leaf)?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let is_server_name = |name: &GeneralName<'_>| {
        matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))
    };
    if names.is_some_and(|names| names.value.general_names.iter().any(is_server_name)) {
        return Ok(());
    }
    let shown = file.shown();
    Err(file.fault(format!(
        "the certificate of {shown} has no DNS name and no IP address as subject alternative name; \
         clients would refuse it"
    )))
}

/// Reads the private key and the certificates of a client.
pub(crate) fn client_identity(
    key: &Text<'_>,
    cert: &Text<'_>,
    warnings: &mut Warnings,
) -> Result<ClientIdentity, Fault> {
    let private = private_key(key, None, warnings)?;
    let chain = chain(cert, &private)?;
    Ok(ClientIdentity { key: private, chain })
}

/// Reads the trust anchors of a file, or of the PEM files in a folder; none when nothing is named.
pub(crate) fn anchors(place: &Text<'_>) -> Result<Option<Vec<Vec<u8>>>, Fault> {
    if place.is_empty() {
        return Ok(None);
    }
    let path = Path::new(place.as_str());
    let unreadable = |error: io::Error| cannot_read(place, path, error);
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        let contents = read(place, path)?;
        return certificates(place, path, &contents.bytes).map(Some);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        // Follows symlinks: Kubernetes mounts are made of them.
        if fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
            files.push(file);
        }
    }
    files.sort();
    let mut anchors = Vec::new();
    for file in files {
        let contents = read(place, &file)?;
        if pem::certificates(&contents.bytes) == Err(PemError::NoCertificate) {
            continue;
        }
        anchors.extend(certificates(place, &file, &contents.bytes)?);
    }
    if anchors.is_empty() {
        let shown = place.shown();
        return Err(place.fault(format!("no file in {shown} holds a certificate")));
    }
    Ok(Some(anchors))
}

/// The certificates of a PEM file's contents, each readable.
fn certificates(place: &Text<'_>, path: &Path, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let chain = pem::certificates(bytes).map_err(|error| {
        let shown = shown(place, path);
        place.fault(format!("no certificate can be taken from {shown}")).because(error)
    })?;
    for der in &chain {
        parse(place, path, der)?;
    }
    Ok(chain)
}

fn parse<'a>(place: &Text<'_>, path: &Path, der: &'a [u8]) -> Result<X509Certificate<'a>, Fault> {
    if let Ok(([], certificate)) = X509Certificate::from_der(der) {
        return Ok(certificate);
    }
    let shown = shown(place, path);
    Err(place.fault(format!("a certificate of {shown} is damaged")))
}

fn read(place: &Text<'_>, path: &Path) -> Result<file::Contents, Fault> {
    file::read(path, PEM_BYTES_MAX).map_err(|error| cannot_read(place, path, error))
}

fn cannot_read(place: &Text<'_>, path: &Path, error: io::Error) -> Fault {
    let shown = shown(place, path);
    place.fault(format!("cannot read {shown}")).because(error)
}

/// The file as messages may show it.
fn shown(place: &Text<'_>, path: &Path) -> String {
    if path == Path::new(place.as_str()) {
        return place.shown().to_string();
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("'{}' in {}", suggest::shown(&name), place.shown())
}
