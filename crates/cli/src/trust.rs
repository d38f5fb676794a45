//! Which servers a command trusts.

use std::fs;
use std::path::{Path, PathBuf};

use kes_client::ServerTrust;
use kes_config::Environment;
use kes_crypto::pem;

use crate::args::Access;
use crate::exit::Failure;
use crate::input;
use crate::material::{self, Source};
use crate::variable;

/// MinIO's own: a file or a folder of trusted certificates, beside those of the system.
const CA_PATH: &str = "MINIO_KMS_KES_CAPATH";

/// Any server with `-k`; else those that the system trusts, which `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// replace, and those that MinIO trusts.
pub(crate) fn find(access: &Access, environment: &dyn Environment) -> Result<ServerTrust, Failure> {
    if access.insecure {
        return Ok(ServerTrust::Insecure);
    }
    let Some(path) = variable::value(CA_PATH, environment)? else {
        return Ok(ServerTrust::SystemRoots);
    };
    let certificates = certificates(Path::new(&path));
    Ok(ServerTrust::SystemRootsAnd(certificates.map_err(|failure| failure.context(CA_PATH))?))
}

/// The certificates of a PEM file, or of those files of a folder that hold some.
fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let unreadable = |error| input::cannot_read(path, error);
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return material::certificates(Source::File(path), &input::read(path)?);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        // Follows symbolic links: Kubernetes mounts are made of them.
        if fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
            files.push(file);
        }
    }
    files.sort();
    let mut certificates = Vec::new();
    for file in files {
        // MinIO passes over what is no certificate.
        certificates.extend(pem::certificates(input::read(file)?.expose()).unwrap_or_default());
    }
    if certificates.is_empty() {
        return Err(Failure::message(format!(
            "no file in '{}' holds a certificate in PEM",
            path.display()
        )));
    }
    Ok(certificates)
}
