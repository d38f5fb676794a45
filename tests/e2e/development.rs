//! `kes server --dev` where no file can be written, and what its banner says to the command line.

use std::path::Path;

use kes_tests::{Credential, Dialer, Proto, Server, Tls, finish, kes};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::process::Command;

/// Starts one that is told to write below this path.
async fn start(temporary: &Path) -> Server {
    let mut command = kes().command();
    command.args(["server", "--dev", "--addr", "127.0.0.1:0"]).env("TMPDIR", temporary);
    let server = Server::launch(command, Path::new("")).await;
    let last = server.stdout().find(|line| line.contains("kes key ls -k")).await;
    assert!(last.is_some(), "the banner has no line for the command line");
    server
}

/// Runs lines of a shell in this folder, with the binary under test as `kes`.
async fn shell(folder: &Path, lines: &str) -> String {
    let mut command = Command::new("sh");
    let kes = kes();
    let script = format!("kes() {{ '{}' \"$@\"; }}\n{lines}\n", kes.path().display());
    command.args(["-e", "-c", &script]).current_dir(folder);
    finish(&mut command).await.ok()
}

/// The lines of the banner that a person pastes for the command line.
fn command_lines(server: &Server) -> String {
    let lines = server.stdout().so_far();
    let is_ours =
        |line: &&str| line.starts_with("export MINIO_KES_") || line.starts_with("kes key ");
    lines.iter().map(|line| line.trim()).filter(is_ours).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_banner_gets_its_reader_a_list_of_keys_with_the_command_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path()).await;
    let lines = format!("{}\nkes key create my-a -k\nkes key ls -k", command_lines(&server));
    assert_eq!(shell(folder.path(), &lines).await, "Key\nmy-a\n", "{lines}");
}

#[tokio::test]
async fn where_no_temporary_file_can_be_written_the_banner_has_the_certificate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("the folder is ours");
    for unwritable in [Path::new("/nonexistent/folder"), Path::new("/proc"), &file] {
        let server = start(unwritable).await;
        let api_key = server.dev_api_key().await;
        let lines = server.stdout().so_far();
        let begin = lines.iter().position(|line| line.starts_with("cat >"));
        let end = lines.iter().position(|line| line == "EOF");
        let (Some(begin), Some(end)) = (begin, end) else { panic!("{lines:#?}") };
        let save = lines[begin..=end].join("\n");
        let place = lines.iter().find(|line| line.contains("MINIO_KMS_KES_CAPATH="));
        let place = place.expect("a line for MinIO").trim();
        let lines = format!("{save}\n{place}\ncat $MINIO_KMS_KES_CAPATH");
        let pem = shell(folder.path(), &lines).await;
        let root = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");

        let admin = Credential::from_api_key(&api_key);
        let dialer = Dialer::new(server.address(), root).show(&admin);
        let connection = dialer.over((Proto::H2, Tls::V13)).name("localhost").connect().await;
        connection.expect("the certificate is the server's").get("/v1/status").await.ok();
        assert_eq!(shell(folder.path(), &command_lines(&server)).await, "");
        let (stdout, _) = server.stop_and_read().await;
        let pasted: Vec<_> = stdout.lines().filter(|line| line.contains("curl")).collect();
        assert_eq!(pasted, [""; 0], "there are no files that curl could read");
    }
}
