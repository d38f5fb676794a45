//! The Go client in `clients/go`.

use kes_tests::{Credential, Setup, b64, go};

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
