//! The development server, `kes server --dev`: new credentials, and keys in memory only.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use kes_config::{CacheExpiry, ClientAuth, ListenAddress, Live, Log, Proxy, Tls};
use kes_crypto::{ApiKey, CertificateRequest, IssuedCertificate};
use kes_policy::{Admin, PolicySet};
use kes_types::Random;

use crate::exit::Failure;
use crate::private_folder::PrivateFolder;

/// The default address of a development server: this machine only, because its credentials are for tests.
pub(crate) const ADDRESS: &str = "127.0.0.1:7373";

/// The validity of a development server's certificates.
const VALIDITY: Duration = Duration::from_hours(90 * 24);

/// The key name in the commands of the banner.
const EXAMPLE_KEY: &str = "my-key";

/// The files of the private folder.
const SERVER_CERTIFICATE: &str = "server.crt";
const ADMIN_CERTIFICATE: &str = "admin.crt";
const ADMIN_KEY: &str = "admin.key";

/// The file name in the banner for the server's certificate if no private folder can be made.
const SAVED_CERTIFICATE: &str = "kes-server.crt";

/// The credentials of a development server.
pub(crate) struct Development {
    admin: ApiKey,
    files: Files,
}

/// The files of the credentials.
enum Files {
    /// In a private folder, which is removed when this is dropped.
    Folder(PrivateFolder),
    /// No files, because no private folder can be made: the banner shows the server's certificate.
    Memory { cause: io::Error, certificate_pem: String },
}

impl Development {
    /// Makes a certificate for this machine and the address, an admin, and a configuration with both.
    pub(crate) fn new(
        address: &ListenAddress,
        random: &dyn Random,
        now: SystemTime,
    ) -> Result<(Self, Live), Failure> {
        let admin = ApiKey::generate(random).map_err(Failure::new)?;
        let server = server_certificate(address, random, now)?;
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
        Ok(Live {
            policies: PolicySet::new(admin, Vec::new()).map_err(Failure::new)?,
            tls: Tls {
                key: server.private_key().clone(),
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

    /// Writes the commands to use the server; one line contains `API Key`, and its third word is the key.
    pub(crate) fn write_banner(&self, address: SocketAddr, to: &mut impl Write) -> io::Result<()> {
        let endpoint = crate::banner::endpoints(address).swap_remove(0);
        let text = self.admin.text();
        let key = String::from_utf8_lossy(text.expose());
        writeln!(
            to,
            "{:<11} {key}\n\n\
             Keys are kept in memory: they are gone when this server ends.\n\
             {}\n",
            "API Key",
            reach(address.ip())
        )?;
        let certificate = match &self.files {
            Files::Folder(folder) => folder.path().join(SERVER_CERTIFICATE).display().to_string(),
            Files::Memory { cause, certificate_pem } => {
                writeln!(
                    to,
                    "No private temporary folder can be made: {cause}.\n\
                     These lines save the server's certificate:\n\n\
                     cat > {SAVED_CERTIFICATE} <<'EOF'\n\
                     {}\n\
                     EOF\n",
                    certificate_pem.trim_end()
                )?;
                format!("$PWD/{SAVED_CERTIFICATE}")
            }
        };
        writeln!(
            to,
            "For MinIO:\n\n  \
               export MINIO_KMS_KES_ENDPOINT={endpoint}\n  \
               export MINIO_KMS_KES_API_KEY={key}\n  \
               export MINIO_KMS_KES_CAPATH={certificate}\n  \
               export MINIO_KMS_KES_KEY_NAME={EXAMPLE_KEY}\n\n\
             For the command line:\n\n  \
               export MINIO_KES_SERVER={endpoint} MINIO_KES_API_KEY={key}\n  \
               kes key ls -k\n"
        )?;
        if let Files::Folder(folder) = &self.files {
            write_curl_lines(folder.path(), &endpoint, to)?;
        }
        to.flush()
    }
}

/// Says who can reach a server with this address.
fn reach(ip: IpAddr) -> &'static str {
    match ip {
        ip if ip.is_loopback() => {
            "Only this machine can reach this server. With --addr 0.0.0.0:7373 others can too."
        }
        ip if ip.is_unspecified() => {
            "Other machines can reach this server, as --addr says. Its certificate is for localhost."
        }
        _ => "Other machines can reach this server, as --addr says.",
    }
}

/// Writes commands for curl, which reads the admin's certificate and key from files.
fn write_curl_lines(folder: &Path, endpoint: &str, to: &mut impl Write) -> io::Result<()> {
    let show = |file: &str| folder.join(file).display().to_string();
    let curl = format!(
        "curl --cacert {} --cert {} --key {}",
        show(SERVER_CERTIFICATE),
        show(ADMIN_CERTIFICATE),
        show(ADMIN_KEY)
    );
    writeln!(
        to,
        "With curl, create a key and get a data key:\n\n  \
           {curl} -X PUT {endpoint}/v1/key/create/{EXAMPLE_KEY}\n  \
           {curl} -X PUT -d '{{}}' {endpoint}/v1/key/generate/{EXAMPLE_KEY}\n"
    )
}

/// Writes the credentials into a new private folder.
fn write_files(
    server: &IssuedCertificate,
    client: &IssuedCertificate,
) -> io::Result<PrivateFolder> {
    let folder = PrivateFolder::new_in(&tempfile::env::temp_dir(), "kes-dev-")?;
    folder.write(SERVER_CERTIFICATE, server.certificate_pem().as_bytes())?;
    folder.write(ADMIN_CERTIFICATE, client.certificate_pem().as_bytes())?;
    folder.write(ADMIN_KEY, client.private_key_pem().expose())?;
    Ok(folder)
}

fn server_certificate(
    address: &ListenAddress,
    random: &dyn Random,
    now: SystemTime,
) -> Result<IssuedCertificate, Failure> {
    let key = ApiKey::generate(random).map_err(Failure::new)?;
    let mut ip_addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for ip in address.candidates().iter().map(SocketAddr::ip) {
        if !ip.is_unspecified() && !ip_addresses.contains(&ip) {
            ip_addresses.push(ip);
        }
    }
    let request = CertificateRequest {
        subject: "localhost".to_owned(),
        dns_names: vec!["localhost".to_owned()],
        ip_addresses,
        not_before: now,
        validity: VALIDITY,
    };
    key.certificate(&request, random).map_err(Failure::new)
}
