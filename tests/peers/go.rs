//! The Go client of `clients/go` against the real binary.

use std::ffi::OsStr;

use kes_harness::{Credential, Setup, b64, finish, go, kes};

#[tokio::test]
async fn the_go_client_is_content_over_h1_and_h2_tls_1_2_and_1_3() {
    let setup = Setup::new().minio(&[&Credential::generate()]);
    let server = setup.start().await;
    go::check(&server, setup.admin(), &["suite"]).await;
}

#[tokio::test]
async fn the_go_client_understands_refusals() {
    let client = Credential::generate();
    let setup = Setup::new().policy("p", &["/v1/nothing"], &[], &[&client]);
    let server = setup.start().await;
    go::check(&server, &client, &["denied"]).await;
    go::check(&server, &Credential::generate(), &["denied"]).await;
}

#[tokio::test]
async fn the_go_client_follows_the_error_log() {
    let setup = Setup::new();
    setup.store("damaged", b64("junk"));
    let server = setup.start().await;
    go::check(&server, setup.admin(), &["error-log"]).await;
}

#[tokio::test]
async fn the_go_client_takes_an_encrypted_key_as_minio_does() {
    const VARIABLE: &str = "MINIO_KMS_KES_KEY_PASSWORD";
    let setup = Setup::new();
    let server = setup.start().await;
    for password in ["correct horse", "p\u{e4}ss'w$rd \\ \"", &"0123456789abcdef".repeat(8)] {
        let (key, cert) = (setup.folder().join("client.key"), setup.folder().join("client.crt"));
        let mut new = kes().command();
        new.args(["identity", "new", "--encrypt", "--force", "--key"]).arg(&key);
        new.arg("--cert").arg(&cert).args(["--api-key", setup.admin().api_key()]);
        finish(new.env(VARIABLE, password)).await.ok();
        let environment = [
            ("MINIO_KMS_KES_KEY_FILE", key.as_os_str()),
            ("MINIO_KMS_KES_CERT_FILE", cert.as_os_str()),
            (VARIABLE, OsStr::new(password)),
        ];
        go::check_with(&server, setup.admin(), &environment, &["encrypted-key"]).await;
    }
}
