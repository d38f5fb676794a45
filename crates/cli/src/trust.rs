//! The servers that a command trusts.

use std::fs;
use std::path::{Path, PathBuf};

use kes_client::ServerTrust;
use kes_config::Environment;
use kes_crypto::pem;

use crate::args::Access;
use crate::exit::Failure;
use crate::input;
use crate::material::{self, Input};
use crate::variable;

/// MinIO's variable: a file or a folder of trusted certificates, in addition to those of the system.
const CA_PATH: &str = "MINIO_KMS_KES_CAPATH";

/// Returns the trusted servers: any with `-k`, otherwise those that the system and MinIO trust.
///
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's list.
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

/// Reads the certificates of a PEM file, or of the files of a folder that contain certificates.
fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let unreadable = |error| input::cannot_read(path, error);
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return material::certificates(Input::File(path), &input::read(path)?);
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        // Symbolic links are followed, because Kubernetes mounts consist of them.
        if fs::metadata(&file).is_ok_and(|metadata| metadata.is_file()) {
            files.push(file);
        }
    }
    files.sort();
    let mut certificates = Vec::new();
    for file in files {
        // Like MinIO, it skips files without certificates.
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
