//! `kes server --dev`: everything fresh, nothing kept.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
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

/// A development server's credentials, and the private folder that holds them as files. The folder
/// goes when this is dropped.
pub(crate) struct Development {
    admin: ApiKey,
    folder: TempDir,
}

impl Development {
    /// Makes a certificate for this machine, an admin, and a configuration with both.
    pub(crate) fn new(random: &dyn Random, now: SystemTime) -> Result<(Self, Live), Failure> {
        let admin = ApiKey::generate(random).map_err(Failure::new)?;
        let folder = tempfile::Builder::new().prefix("kes-dev-").tempdir().map_err(Failure::new)?;
        let server = server_certificate(random, now)?;
        let client = admin.client_certificate(random, now).map_err(Failure::new)?;
        let development = Self { admin, folder };
        development.write_files(&server, &client).map_err(Failure::new)?;
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

    fn write_files(
        &self,
        server: &IssuedCertificate,
        client: &IssuedCertificate,
    ) -> io::Result<()> {
        fs::write(self.path("server.crt"), server.certificate_pem())?;
        fs::write(self.path("admin.crt"), client.certificate_pem())?;
        let mut key = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path("admin.key"))?;
        key.write_all(client.private_key_pem().expose())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes what a person needs to use the server: one line contains `API Key`, and its third
    /// word is the key.
    pub(crate) fn write_banner(&self, address: SocketAddr, to: &mut impl Write) -> io::Result<()> {
        let endpoint = crate::banner::endpoints(address).swap_remove(0);
        let text = self.admin.text();
        let key = String::from_utf8_lossy(text.expose());
        let show = |file: &str| self.path(file).display().to_string();
        let curl = format!(
            "curl --cacert {} --cert {} --key {}",
            show("server.crt"),
            show("admin.crt"),
            show("admin.key")
        );
        writeln!(to, "{:<11} {key}", "API Key")?;
        writeln!(to)?;
        writeln!(to, "Keys are kept in memory: they are gone when this server ends. For MinIO:")?;
        writeln!(to)?;
        writeln!(to, "  export MINIO_KMS_KES_ENDPOINT={endpoint}")?;
        writeln!(to, "  export MINIO_KMS_KES_API_KEY={key}")?;
        writeln!(to, "  export MINIO_KMS_KES_CAPATH={}", show("server.crt"))?;
        writeln!(to, "  export MINIO_KMS_KES_KEY_NAME={EXAMPLE_KEY}")?;
        writeln!(to)?;
        writeln!(to, "With curl, create a key and get a data key:")?;
        writeln!(to)?;
        writeln!(to, "  {curl} -X PUT {endpoint}/v1/key/create/{EXAMPLE_KEY}")?;
        writeln!(to, "  {curl} -X PUT -d '{{}}' {endpoint}/v1/key/generate/{EXAMPLE_KEY}")?;
        writeln!(to)?;
        to.flush()
    }
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
