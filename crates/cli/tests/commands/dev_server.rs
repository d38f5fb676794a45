//! Tests of commands with a development server.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Answer, kes, kes_in};

/// A development server; it is killed when this is dropped.
struct DevServer {
    process: Child,
    endpoint: String,
    api_key: String,
    certificate: String,
    /// The folder of its credentials.
    _folder: TempDir,
}

impl DevServer {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_kes"))
            .args(["server", "--dev", "--addr", "127.0.0.1:0"])
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let banner = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self {
            process,
            endpoint: String::new(),
            api_key: String::new(),
            certificate: String::new(),
            _folder: folder,
        };
        for line in banner.lines() {
            let line = line.unwrap();
            let last_word = line.split([' ', '=']).next_back().unwrap_or_default().to_owned();
            if line.starts_with("Endpoints") {
                server.endpoint = last_word;
            } else if line.contains("API Key") {
                server.api_key = line.split_whitespace().nth(2).unwrap().to_owned();
            } else if line.contains("MINIO_KMS_KES_CAPATH=") {
                server.certificate = last_word;
            } else if line.contains("/v1/key/generate/") {
                break;
            }
        }
        server
    }

    /// Runs a command as the admin, with all settings from the environment.
    fn kes(&self, arguments: &[&str]) -> Answer {
        let environment = [
            ("MINIO_KES_SERVER", self.endpoint.as_str()),
            ("MINIO_KES_API_KEY", &self.api_key),
            ("SSL_CERT_FILE", &self.certificate),
        ];
        kes_in(Path::new("."), &environment, arguments)
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn success(out: &str) -> Answer {
    Answer { code: Some(0), out: out.to_owned(), err: String::new() }
}

#[test]
fn keys_are_created_listed_and_used() {
    let server = DevServer::start();
    assert_eq!(server.kes(&["key", "create", "my-a", "my-b", "other"]), success(""));
    assert_eq!(server.kes(&["key", "ls"]), success("Key\nmy-a\nmy-b\nother\n"));
    assert_eq!(server.kes(&["key", "ls", "my-*"]), success("Key\nmy-a\nmy-b\n"));
    assert_eq!(server.kes(&["key", "ls", "--no-header"]), success("my-a\nmy-b\nother\n"));
    assert_eq!(server.kes(&["key", "ls", "o", "--json"]), success("[\"other\"]\n"));
    assert_eq!(server.kes(&["key", "ls", "none"]), success(""));
    assert_eq!(server.kes(&["key", "ls", "none", "--json"]), success("[]\n"));

    let dek: Value =
        serde_json::from_str(&server.kes(&["key", "dek", "my-a", "YQ=="]).out).unwrap();
    let ciphertext = dek["ciphertext"].as_str().unwrap();
    let opened = server.kes(&["key", "decrypt", "my-a", ciphertext, "YQ=="]);
    assert_eq!(opened, success(&format!("{{\"plaintext\":{}}}\n", dek["plaintext"])));

    let wrong = server.kes(&["key", "decrypt", "my-a", ciphertext, "Yg=="]);
    assert_eq!((wrong.code, wrong.out.as_str()), (Some(1), ""));
    let not_authentic = "Error: decryption failed: ciphertext is not authentic (400)\n";
    assert_eq!(wrong.err, not_authentic);
    let taken = server.kes(&["key", "create", "my-a"]);
    assert_eq!(taken.err, "Error: cannot create key 'my-a': key already exists (400)\n");
}

#[test]
fn the_status_is_reported_to_people_and_to_scripts() {
    let server = DevServer::start();
    let Answer { code, out, err } = server.kes(&["status"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for (line, label) in out.lines().zip(["Server", "Version", "Uptime", "Latency", "Key store"]) {
        assert!(line.starts_with(label), "{out}");
    }
    assert!(out.contains("online"), "{out}");
    let json: Value = serde_json::from_str(&server.kes(&["status", "--json"]).out).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_refusal_says_what_could_be_done_about_it() {
    let server = DevServer::start();
    let unknown = "kes:v1:AGaV6VXHasF0FnaB60WdCOeTZ8eTIDikL4zlN16c8NAs";
    let Answer { code, err, .. } = server.kes(&["key", "ls", "-a", unknown]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("Error: not authorized: insufficient permissions (403)\nHint: "));
    assert!(err.contains("ea9826089311fe44d7590408ede9150f7c637b6cab0a91ee6fe1aa5d9fb366f6"));

    let credentials = ["-s", &server.endpoint, "-a", &server.api_key];
    let untrusted = kes(&[&["key", "ls"], &credentials[..]].concat());
    assert_eq!(untrusted.code, Some(1));
    let insecure = kes(&[&["key", "ls", "-k"], &credentials[..]].concat());
    assert_eq!(insecure, success(""));
}
