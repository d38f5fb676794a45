//! curl as a client, as operators use it.

use std::fs;

use kes_harness::{Credential, Need, Server, Setup, finish, tool};
use serde_json::{Value, json};
use tokio::process::Command;

const PROTOCOLS: [[&str; 3]; 4] = [
    ["--http1.1", "--tlsv1.2", "--tls-max=1.2"],
    ["--http1.1", "--tlsv1.3", "--tls-max=1.3"],
    ["--http2", "--tlsv1.2", "--tls-max=1.2"],
    ["--http2", "--tlsv1.3", "--tls-max=1.3"],
];

struct Curl<'a> {
    program: Need,
    setup: &'a Setup,
    server: Server,
}

impl<'a> Curl<'a> {
    async fn new(setup: &'a Setup, what: &str) -> Option<Self> {
        let program = tool("curl", None, what)?;
        Some(Self { program, setup, server: setup.start().await })
    }

    /// Status and body of a request.
    async fn ask(
        &self,
        options: [&str; 3],
        who: &str,
        arguments: &[&str],
        path: &str,
    ) -> (u16, String) {
        let file = |name: String| self.setup.folder().join(name);
        let mut command = Command::new(self.program.path());
        command
            .args(["--silent", "--show-error", "--write-out", "\n%{http_code}", "--cacert"])
            .arg(self.server.certificate_file())
            // `--tls-max 1.2` is two words to curl.
            .args(options.iter().flat_map(|word| word.split('=')))
            .args(arguments)
            .arg(format!("{}{path}", self.server.url()));
        if !who.is_empty() {
            command.arg("--cert").arg(file(format!("{who}.crt")));
            command.arg("--key").arg(file(format!("{who}.key")));
        }
        let output = finish(&mut command).await.ok();
        let (body, status) = output.rsplit_once('\n').expect("a status after the body");
        (status.parse().expect("a status"), body.to_owned())
    }

    async fn ok(&self, options: [&str; 3], arguments: &[&str], path: &str) -> Value {
        let (status, body) = self.ask(options, "admin", arguments, path).await;
        assert_eq!(status, 200, "{options:?} {path}: {body}");
        if body.is_empty() { Value::Null } else { serde_json::from_str(&body).expect("JSON") }
    }
}

fn write(setup: &Setup, name: &str, credential: &Credential) {
    let file = |extension| setup.folder().join(format!("{name}.{extension}"));
    fs::write(file("crt"), credential.chain_pem()).expect("the folder is ours");
    fs::write(file("key"), credential.key_pem()).expect("the folder is ours");
}

#[tokio::test]
async fn curl_makes_uses_and_deletes_keys() {
    let setup = Setup::new();
    write(&setup, "admin", setup.admin());
    let Some(curl) = Curl::new(&setup, "keys with curl").await else { return };
    for (round, options) in PROTOCOLS.into_iter().enumerate() {
        let path = |operation: &str| format!("/v1/key/{operation}/k{round}");
        for path in ["/version", "/v1/status", "/v1/api", "/v1/key/list", "/v1/key/list/*"] {
            curl.ok(options, &["--globoff"], path).await;
        }
        assert_eq!(curl.ok(options, &["-X", "PUT"], &path("create")).await, Value::Null);
        let (status, body) = curl.ask(options, "admin", &["-X", "POST"], &path("create")).await;
        assert_eq!((status, body.as_str()), (400, r#"{"message":"key already exists"}"#));

        // `-d` sends a length and a form's content type.
        let made = curl.ok(options, &["-d", r#"{"context":"Yw=="}"#], &path("generate")).await;
        let body = json!({ "ciphertext": made["ciphertext"], "context": "Yw==" }).to_string();
        let opened = curl.ok(options, &["-X", "PUT", "-d", &body], &path("decrypt")).await;
        assert_eq!(opened["plaintext"], made["plaintext"]);

        // `-d ''` is a body of length 0, `-X PUT` none at all.
        for empty in [&["-d", ""][..], &["-X", "PUT"]] {
            let (status, body) = curl.ask(options, "admin", empty, &path("generate")).await;
            assert_eq!((status, body.as_str()), (400, r#"{"message":"request body is empty"}"#));
        }
        assert_eq!(curl.ok(options, &["-X", "DELETE"], &path("delete")).await, Value::Null);
    }
}

#[tokio::test]
async fn curl_sends_large_bodies_and_waits_for_100_continue() {
    let setup = Setup::new();
    write(&setup, "admin", setup.admin());
    let Some(curl) = Curl::new(&setup, "large bodies with curl").await else { return };
    curl.ok(PROTOCOLS[0], &["-X", "PUT"], "/v1/key/create/k").await;
    for (bytes, wanted) in [(990_000_usize, 200), (3_000_000, 413)] {
        let file = setup.folder().join("body.json");
        let body = format!(r#"{{"context":"{}"}}"#, "QUFB".repeat(bytes / 4));
        fs::write(&file, body).expect("the folder is ours");
        let data = format!("@{}", file.display());
        for options in PROTOCOLS {
            // Over h2 curl itself never waits.
            let waits = options[0] == "--http1.1";
            for expect in [Some("Expect: 100-continue").filter(|_| waits), Some("Expect:")] {
                let Some(expect) = expect else { continue };
                for form in [&["-X", "POST", "--data-binary"][..], &["-T"]] {
                    let mut arguments = vec!["-H", expect];
                    arguments.extend(form);
                    arguments.push(if form == ["-T"] { &data[1..] } else { &data });
                    let (status, body) =
                        curl.ask(options, "admin", &arguments, "/v1/key/generate/k").await;
                    assert_eq!(status, wanted, "{options:?} {arguments:?}: {body:.200}");
                }
            }
        }
    }
}

/// The identity of the certificate of version 1, computed by OpenSSL.
const V1_IDENTITY: &str = "9f8edaac6adb5f4185d8063d3d79017df5d135d9957f43b1411a78c56935dc23";

#[tokio::test]
async fn curl_shows_certificates_of_every_algorithm() {
    let mut clients = vec![
        Credential::generate(),
        Credential::of_algorithm(&rcgen::PKCS_ECDSA_P256_SHA256),
        Credential::of_algorithm(&rcgen::PKCS_ECDSA_P384_SHA384),
    ];
    clients.extend(Credential::fixtures());
    clients.push(Credential::fixture("v1", V1_IDENTITY));
    let known: Vec<&Credential> = clients.iter().collect();
    let setup = Setup::new().minio(&known);
    let Some(curl) = Curl::new(&setup, "client certificates with curl").await else { return };
    for options in PROTOCOLS {
        for client in &clients {
            write(&setup, "client", client);
            let (status, body) =
                curl.ask(options, "client", &[], "/v1/identity/self/describe").await;
            assert_eq!(status, 200, "{options:?}: {body}");
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(body["identity"], client.identity());
        }
    }
}

#[tokio::test]
async fn curl_without_a_certificate_gets_what_skip_auth_allows() {
    let setup = Setup::new().with(json!({ "api": { "/v1/ready": { "skip_auth": true } } }));
    let Some(curl) = Curl::new(&setup, "probes with curl").await else { return };
    for options in PROTOCOLS {
        assert_eq!(curl.ask(options, "", &[], "/v1/ready").await, (200, String::new()));
        let (status, body) = curl.ask(options, "", &[], "/v1/status").await;
        let refusal = r#"{"message":"tls: client certificate is required"}"#;
        assert_eq!((status, body.as_str()), (400, refusal));
    }
}

#[tokio::test]
async fn the_banner_of_dev_gets_its_reader_a_data_key_with_curl() {
    let Some(curl) = tool("curl", None, "the banner of --dev") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::dev(folder.path()).await;
    let mut asked = 0;
    let last = server.stdout().find(|line| line.contains("/v1/key/generate/")).await;
    assert!(last.is_some(), "the banner does not say how to get a data key");
    for line in server.stdout().so_far() {
        let Some(arguments) = line.trim().strip_prefix("curl ") else { continue };
        let mut command = Command::new("sh");
        let curl = curl.path().display();
        command.args(["-c", &format!("{curl} --silent --show-error --fail {arguments}")]);
        let output = finish(&mut command).await.ok();
        if line.contains("/v1/key/generate/") {
            assert!(output.contains("ciphertext"), "{line}: {output}");
        }
        asked += 1;
    }
    assert!(asked > 0, "no line of the banner is a curl command");
}
