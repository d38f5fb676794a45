//! `kes server --dev`: everything fresh, nothing kept.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use kes_config::{CacheExpiry, ClientAuth, Live, Log, Proxy, Tls};
use kes_crypto::{ApiKey, CertificateRequest, IssuedCertificate, Random};
use kes_policy::{Admin, PolicySet};
use tempfile::TempDir;

use crate::exit::Failure;

/// The longest a development server's certificates are of use.
const VALIDITY: Duration = Duration::from_hours(90 * 24);

/// A key name for the lines that the banner shows.
const EXAMPLE_KEY: &str = "my-key";

/// The files of the private folder.
const SERVER_CERTIFICATE: &str = "server.crt";
const ADMIN_CERTIFICATE: &str = "admin.crt";
const ADMIN_KEY: &str = "admin.key";

/// The name that the banner gives the server's certificate where it cannot be a file of ours.
const SAVED_CERTIFICATE: &str = "kes-server.crt";

/// A development server's credentials.
pub(crate) struct Development {
    admin: ApiKey,
    files: Files,
}

/// Where the credentials are for those who read them from files.
enum Files {
    /// In a private folder, which goes when this is dropped.
    Folder(TempDir),
    /// Nowhere, because no folder can be written: the banner shows the server's certificate.
    Memory { cause: io::Error, certificate_pem: String },
}

impl Development {
    /// Makes a certificate for this machine, an admin, and a configuration with both.
    pub(crate) fn new(random: &dyn Random, now: SystemTime) -> Result<(Self, Live), Failure> {
        let admin = ApiKey::generate(random).map_err(Failure::new)?;
        let server = server_certificate(random, now)?;
        let client = admin.client_certificate(random, now).map_err(Failure::new)?;
        let files = match write_files(&server, &client) {
            Ok(folder) => Files::Folder(folder),
            Err(cause) => Files::Memory { cause, certificate_pem: server.certificate_pem() },
        };
        let development = Self { admin, files };
        let live = development.configuration(&server)?;
        Ok((development, live))
    }

    fn configuration(&self, server: &IssuedCertificate) -> Result<Live, Failure> {
        let admin = Admin::new(&self.admin.identity().to_string());
        let key = kes_crypto::pem::private_key(server.private_key_pem().expose(), None);
        Ok(Live {
            policies: PolicySet::new(admin, Vec::new()).map_err(Failure::new)?,
            tls: Tls {
                key: key.map_err(Failure::new)?,
                chain: vec![server.certificate_der().to_vec()],
                auth: ClientAuth::Off,
                ca: None,
                proxy: Proxy::default(),
            },
            api: Vec::new(),
            cache: CacheExpiry::default(),
            log: Log::default(),
        })
    }

    /// Writes what a person needs to use the server: one line contains `API Key`, and its third
    /// word is the key.
    pub(crate) fn write_banner(&self, address: SocketAddr, to: &mut impl Write) -> io::Result<()> {
        let endpoint = crate::banner::endpoints(address).swap_remove(0);
        let text = self.admin.text();
        let key = String::from_utf8_lossy(text.expose());
        writeln!(to, "{:<11} {key}", "API Key")?;
        writeln!(to)?;
        writeln!(to, "Keys are kept in memory: they are gone when this server ends.")?;
        writeln!(to)?;
        let certificate = match &self.files {
            Files::Folder(folder) => folder.path().join(SERVER_CERTIFICATE).display().to_string(),
            Files::Memory { cause, certificate_pem } => {
                writeln!(to, "No temporary folder can be written: {cause}.")?;
                writeln!(to, "These lines save the server's certificate:")?;
                writeln!(to)?;
                writeln!(to, "cat > {SAVED_CERTIFICATE} <<'EOF'")?;
                writeln!(to, "{}", certificate_pem.trim_end())?;
                writeln!(to, "EOF")?;
                writeln!(to)?;
                format!("$PWD/{SAVED_CERTIFICATE}")
            }
        };
        writeln!(to, "For MinIO:")?;
        writeln!(to)?;
        writeln!(to, "  export MINIO_KMS_KES_ENDPOINT={endpoint}")?;
        writeln!(to, "  export MINIO_KMS_KES_API_KEY={key}")?;
        writeln!(to, "  export MINIO_KMS_KES_CAPATH={certificate}")?;
        writeln!(to, "  export MINIO_KMS_KES_KEY_NAME={EXAMPLE_KEY}")?;
        writeln!(to)?;
        writeln!(to, "For the command line:")?;
        writeln!(to)?;
        writeln!(to, "  export MINIO_KES_SERVER={endpoint} MINIO_KES_API_KEY={key}")?;
        writeln!(to, "  kes key ls -k")?;
        writeln!(to)?;
        if let Files::Folder(folder) = &self.files {
            write_curl_lines(folder.path(), &endpoint, to)?;
        }
        to.flush()
    }
}

/// Lines for curl, which reads the admin's certificate and key from files.
fn write_curl_lines(folder: &Path, endpoint: &str, to: &mut impl Write) -> io::Result<()> {
    let show = |file: &str| folder.join(file).display().to_string();
    let curl = format!(
        "curl --cacert {} --cert {} --key {}",
        show(SERVER_CERTIFICATE),
        show(ADMIN_CERTIFICATE),
        show(ADMIN_KEY)
    );
    writeln!(to, "With curl, create a key and get a data key:")?;
    writeln!(to)?;
    writeln!(to, "  {curl} -X PUT {endpoint}/v1/key/create/{EXAMPLE_KEY}")?;
    writeln!(to, "  {curl} -X PUT -d '{{}}' {endpoint}/v1/key/generate/{EXAMPLE_KEY}")?;
    writeln!(to)
}

/// Writes the credentials into a private folder of their own.
fn write_files(server: &IssuedCertificate, client: &IssuedCertificate) -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("kes-dev-").tempdir()?;
    let path = |file: &str| folder.path().join(file);
    fs::write(path(SERVER_CERTIFICATE), server.certificate_pem())?;
    fs::write(path(ADMIN_CERTIFICATE), client.certificate_pem())?;
    let mut key =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(ADMIN_KEY))?;
    key.write_all(client.private_key_pem().expose())?;
    Ok(folder)
}

fn server_certificate(random: &dyn Random, now: SystemTime) -> Result<IssuedCertificate, Failure> {
    let key = ApiKey::generate(random).map_err(Failure::new)?;
    let request = CertificateRequest {
        subject: "localhost".to_owned(),
        dns_names: vec!["localhost".to_owned()],
        ip_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        not_before: now,
        validity: VALIDITY,
    };
    key.certificate(&request, random).map_err(Failure::new)
}
