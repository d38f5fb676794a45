//! Reads the certificates and private keys whose files the configuration names.

use std::path::{Path, PathBuf};
use std::{fs, io};

use kes_crypto::pem::{self, Material, PemError, PrivateKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::advice::{self, Wanted};
use crate::cursor::Text;
use crate::error::Fault;
use crate::file;
use crate::findings::Findings;
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

/// The files of a private key and of its certificates; none where a fault was reported.
pub(crate) struct Files<'a> {
    pub(crate) key: Option<Text<'a>>,
    pub(crate) password: Password<'a>,
    pub(crate) cert: Option<Text<'a>>,
    /// Whether the certificate is shown to clients.
    pub(crate) is_of_server: bool,
}

/// The password of a private key.
pub(crate) enum Password<'a> {
    /// There is no field for one: the key must not be encrypted.
    Unsupported,
    /// It has a fault.
    Faulty,
    /// Perhaps empty.
    Given(Text<'a>),
}

/// Reads a private key and its certificates, and checks that they can be used and belong together.
pub(crate) fn identity(files: &Files<'_>, findings: &mut Findings) -> Option<ClientIdentity> {
    let key = files.key.as_ref().and_then(|file| private_key(file, &files.password, findings));
    let file_and_key = files.key.as_ref().zip(key.as_ref());
    let unfit = file_and_key.and_then(|(file, key)| {
        advice::unfit_key(&shown_file(file), key).map(|text| file.fault(text))
    });
    let is_fit = unfit.is_none();
    if let Some(fault) = unfit {
        findings.fault(fault);
    }
    let cert = files.cert.as_ref()?;
    let chain = findings.keep(chain(cert))?;
    let leaf = chain.first()?;
    if files.is_of_server {
        findings.keep(check_server_names(cert, leaf));
    }
    // The certificate of a key that TLS does not support is not reported again.
    if is_fit {
        findings.keep(check_key(cert, leaf, key.as_ref()))?;
    }
    Some(ClientIdentity { key: key?, chain })
}

/// Reads the private key of a file.
fn private_key(
    file: &Text<'_>,
    password: &Password<'_>,
    findings: &mut Findings,
) -> Option<PrivateKey> {
    let contents = findings.keep(read(file, Path::new(file.as_str())))?;
    if contents.is_open {
        let shown = shown_file(file);
        findings.warn(file.fault(format!(
            "others than the owner can read the private key {shown}; `chmod 600` keeps it private"
        )));
    }
    let secret = match password {
        Password::Given(text) if !text.is_empty() => Some(text.secret()),
        _ => None,
    };
    let key = pem::private_key(&contents.bytes, secret.as_ref());
    findings.keep(key.map_err(|error| match (error, password) {
        (PemError::PasswordNeeded, Password::Faulty) => Fault::known(),
        (PemError::PasswordNeeded, Password::Given(password)) => {
            password.missing("the password of the private key, which is encrypted")
        }
        (PemError::WrongPassword, Password::Given(password)) => {
            password.fault(format!("does not decrypt the private key {}", shown_file(file)))
        }
        (error @ (PemError::NoKey | PemError::Malformed), _) => {
            unusable(file, Path::new(file.as_str()), &contents.bytes, Wanted::PrivateKey, error)
        }
        (other, _) => {
            let shown = shown_file(file);
            file.fault(format!("no private key can be taken from {shown}")).because(other)
        }
    }))
}

/// Reads the certificates of a file.
fn chain(file: &Text<'_>) -> Result<Vec<Vec<u8>>, Fault> {
    let path = Path::new(file.as_str());
    certificates(file, path, &read(file, path)?.bytes)
}

/// Checks that TLS supports the key of a certificate, and that it is the given key.
fn check_key(file: &Text<'_>, leaf: &[u8], key: Option<&PrivateKey>) -> Result<(), Fault> {
    let shown = shown_file(file);
    let mismatch = || key.and_then(|key| advice::mismatch(&shown, leaf, key));
    let wrong = advice::unfit_certificate(&shown, leaf).or_else(mismatch);
    wrong.map_or(Ok(()), |text| Err(file.fault(text)))
}

/// Checks that a certificate names the server as a subject alternative name.
fn check_server_names(file: &Text<'_>, leaf: &[u8]) -> Result<(), Fault> {
    let certificate = parse(file, Path::new(file.as_str()), leaf)?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let is_server_name = |name: &GeneralName<'_>| {
        matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))
    };
    if names.is_some_and(|names| names.value.general_names.iter().any(is_server_name)) {
        return Ok(());
    }
    let shown = shown_file(file);
    Err(file.fault(format!(
        "the certificate of {shown} has no DNS name and no IP address as subject alternative name; \
         clients would refuse it"
    )))
}

/// Reads the trust anchors of a file, or of the PEM files in a folder; none when nothing is named.
pub(crate) fn anchors(
    place: &Text<'_>,
    findings: &mut Findings,
) -> Result<Option<Vec<Vec<u8>>>, Fault> {
    if place.is_empty() {
        return Ok(None);
    }
    let path = Path::new(place.as_str());
    let metadata = fs::metadata(path).map_err(|error| cannot_read(place, path, error))?;
    if metadata.is_dir() {
        return anchors_of_folder(place, path, findings).map(Some);
    }
    certificates(place, path, &read(place, path)?.bytes).map(Some)
}

fn anchors_of_folder(
    place: &Text<'_>,
    path: &Path,
    findings: &mut Findings,
) -> Result<Vec<Vec<u8>>, Fault> {
    let files = files_of(path).map_err(|error| cannot_read(place, path, error))?;
    let mut read = |file: &PathBuf| {
        let anchors = anchors_of_file(place, file, findings);
        findings.keep(anchors)
    };
    let anchors: Vec<_> = files.iter().map(&mut read).collect();
    let anchors: Option<Vec<_>> = anchors.into_iter().collect();
    let anchors = anchors.ok_or_else(Fault::known)?.concat();
    if anchors.is_empty() {
        let shown = shown_file(place);
        return Err(place.fault(format!("no file in {shown} holds a certificate")));
    }
    Ok(anchors)
}

/// Reads the certificates of a file in a folder, which may hold other files too.
fn anchors_of_file(
    place: &Text<'_>,
    file: &Path,
    findings: &mut Findings,
) -> Result<Vec<Vec<u8>>, Fault> {
    let contents = read(place, file)?;
    if pem::certificates(&contents.bytes) != Err(PemError::NoCertificate) {
        return certificates(place, file, &contents.bytes);
    }
    if let Some(material @ Material::DerCertificate) = Material::of(&contents.bytes) {
        let what = advice::instead(&shown(place, file), material, Wanted::Certificate, None);
        findings.warn(place.fault(format!("passed over: {what}")));
    }
    Ok(Vec::new())
}

/// Lists the files in a folder, ordered by name.
fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        // Follows symlinks: Kubernetes mounts are made of them.
        if fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the certificates from the contents of a PEM file, and checks that each can be decoded.
fn certificates(place: &Text<'_>, path: &Path, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
    let chain = pem::certificates(bytes)
        .map_err(|error| unusable(place, path, bytes, Wanted::Certificate, error))?;
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

/// Makes the fault of a file that does not hold what is expected.
fn unusable(place: &Text<'_>, path: &Path, bytes: &[u8], wanted: Wanted, error: PemError) -> Fault {
    let shown = shown(place, path);
    match Material::of(bytes) {
        Some(material) => {
            let written = (!place.is_replaced()).then_some(path);
            place.fault(advice::instead(&shown, material, wanted, written))
        }
        None => place.fault(format!("no {wanted} can be taken from {shown}")).because(error),
    }
}

/// Formats the file that a text names for messages.
fn shown_file(place: &Text<'_>) -> String {
    shown(place, Path::new(place.as_str()))
}

/// Formats a file for messages.
fn shown(place: &Text<'_>, path: &Path) -> String {
    let folder = file::relative_to(Path::new(place.as_str()));
    if path == Path::new(place.as_str()) {
        return format!("{}{folder}", place.shown());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!("'{}' in {}{folder}", suggest::shown(&name), place.shown())
}
