//! A working directory with the files that the corpora and the sample files name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;

use kes_crypto::pem::{self, PrivateKey};
use kes_types::Secret;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

/// The working directory of this test binary.
pub(crate) struct Folder(TempDir);

static FOLDER: OnceLock<Folder> = OnceLock::new();

impl Folder {
    /// Makes the directory and goes there; all tests of a binary are in the same one.
    pub(crate) fn enter() -> &'static Self {
        FOLDER.get_or_init(|| {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.fill();
            std::env::set_current_dir(folder.0.path()).unwrap();
            folder
        })
    }

    /// The environment of the corpora.
    #[expect(clippy::unused_self, reason = "values name files of this folder")]
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let identity = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";
        [
            ("MINIO_KES_IDENTITY", identity),
            ("KEY_FILE", "./server.key"),
            ("CERT_FILE", "./server.cert"),
            ("KEYS_FOLDER", "./keys"),
            ("ON", "on"),
            ("EMPTY", ""),
            ("SECRET", "hunter2"),
            ("VAULT_APPROLE_ID", "b4c5a3a7-70d9-4f0b-8f5c-0f6d8c1f6a57"),
            ("VAULT_APPROLE_SECRET", "hunter2"),
            ("VAULT_ENDPOINT", "http://vault.hunter2.example.com"),
            ("KES_AWS_ACCESS_KEY", "AKIAIOSFODNN7EXAMPLE"),
            ("KES_AWS_SECRET_KEY", "hunter2"),
            ("PASSWORD_FILE", "./secrets/password"),
            ("ROLE_FILE", "./secrets/role"),
            ("SET", "hunter2"),
            ("SET_FILE", "./secrets/no-such"),
            ("LOST_FILE", "./secrets/no-such"),
            ("EMPTY_FILE_FILE", "./secrets/empty"),
            ("UNNAMED_FILE", ""),
            ("PART", "/srv/${HOME}/keys"),
            ("TILDE", "~/keys"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn fill(&self) {
        let server = KeyPair::generate().unwrap();
        self.write("server.key", &server.serialize_pem(), 0o600);
        self.write("open.key", &server.serialize_pem(), 0o640);
        let certificate = certificate(&["localhost"], &server);
        self.write("server.cert", &certificate, 0o644);
        self.write("vault-ca.cert", &certificate, 0o644);
        self.write("encrypted.key", &encrypted(&server.serialize_pem()), 0o600);

        let nameless = KeyPair::generate().unwrap();
        self.write("nameless.key", &nameless.serialize_pem(), 0o600);
        self.write("nameless.cert", &self::certificate(&[], &nameless), 0o644);

        self.write("secrets/password", "hunter2\n", 0o600);
        self.write("secrets/role", "my-role\r\n", 0o600);
        self.write("secrets/two-line-ends", "hunter2\n\n", 0o600);
        self.write("secrets/empty", "", 0o600);
        self.write("secrets/line-end", "\n", 0o600);
        self.write("secrets/long", &"x".repeat((64 << 10) + 1), 0o600);
        self.write_bytes("secrets/binary", b"hunter\xff", 0o600);
        self.write("secrets/home", "~/keys\n", 0o600);

        let pem = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pem");
        for entry in fs::read_dir(pem).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("pem/{}", path.file_name().unwrap().to_str().unwrap());
            self.write_bytes(&name, &fs::read(&path).unwrap(), 0o600);
        }

        self.write("der-ca/one.crt", &certificate, 0o644);
        let der = pem::certificates(certificate.as_bytes()).unwrap();
        self.write_bytes("der-ca/two.der", &der[0], 0o644);
        self.write("ca/README", "no certificate", 0o644);
        self.write("ca/one.crt", &certificate, 0o644);
        self.write("empty/README", "no certificate", 0o644);
        let damaged = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
        self.write("damaged.cert", damaged, 0o644);
        self.write("damaged-ca/one.crt", &certificate, 0o644);
        self.write("damaged-ca/two.crt", damaged, 0o644);
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        self.write_bytes(name, text.as_bytes(), mode);
    }

    fn write_bytes(&self, name: &str, text: &[u8], mode: u32) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new("."))).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn certificate(names: &[&str], key: &KeyPair) -> String {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).unwrap().self_signed(key).unwrap().pem()
}

fn encrypted(key_pem: &str) -> String {
    let key: PrivateKey = pem::private_key(key_pem.as_bytes(), None).unwrap();
    let password = Secret::from("hunter2".to_owned());
    let text = pem::encrypt(&key, &password, &kes_crypto::SystemRandom::new()).unwrap();
    String::from_utf8(text.expose().to_vec()).unwrap()
}
