//! `kes server --dev`: its addresses, the permissions of its files, and its banner.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use kes_harness::{Credential, Dialer, Proto, Server, Tls, finish, kes, skipped, tool};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::process::Command;

/// Starts one that writes below this path.
async fn start(temporary: &Path) -> Server {
    let mut command = kes().command();
    command.args(["server", "--dev", "--addr", "127.0.0.1:0"]).env("TMPDIR", temporary);
    let server = Server::launch(command, Path::new("")).await;
    let last = server.stdout().find(|line| line.contains("kes key ls -k")).await;
    assert!(last.is_some(), "the banner has no line for the command line");
    server
}

/// Whether the banner says where the files are, and not what is in them.
fn has_files(server: &Server) -> bool {
    let lines = server.stdout().so_far();
    let has = |text: &str| lines.iter().any(|line| line.contains(text));
    let has_folder = has("/kes-dev-");
    assert_ne!(has_folder, has("BEGIN CERTIFICATE"), "{lines:#?}");
    has_folder
}

#[tokio::test]
async fn its_files_are_for_its_user_alone_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = tokio::process::Command::new("sh");
        let script = format!("umask {umask}; exec \"$0\" server --dev --addr 127.0.0.1:0");
        command.args(["-c", &script]).arg(kes().path()).env("TMPDIR", folder.path());
        let server = Server::launch(command, Path::new("")).await;
        let entries = |path: &Path| -> Vec<_> {
            let entries = fs::read_dir(path).expect("the folder is ours");
            entries.map(|entry| entry.expect("an entry").path()).collect()
        };
        let ours = fs::metadata(folder.path()).expect("the folder is ours").uid();
        let [private] = &entries(folder.path())[..] else { panic!("not one folder") };
        let files = entries(private);
        assert_eq!(files.len(), 3, "{files:?}");
        for (path, mode) in
            [(private, 0o40700)].into_iter().chain(files.iter().map(|it| (it, 0o100_600)))
        {
            let found = fs::symlink_metadata(path).expect("it is there");
            assert_eq!((found.mode(), found.uid()), (mode, ours), "{umask} {}", path.display());
        }
        server.stop().await;
        assert_eq!(entries(folder.path()).len(), 0, "what it wrote is gone");
    }
}

#[tokio::test]
async fn it_writes_no_files_where_other_users_could_replace_them() {
    let outer = tempfile::tempdir().expect("a temporary folder");
    let (inner, link) = (outer.path().join("inner"), outer.path().join("link"));
    fs::create_dir(&inner).expect("the folder is ours");
    symlink(&inner, &link).expect("the folder is ours");
    for (mode, is_safe) in [(0o755, true), (0o1777, true), (0o777, false), (0o757, false)] {
        fs::set_permissions(outer.path(), Permissions::from_mode(mode)).expect("it is ours");
        for temporary in [outer.path(), &inner, &link] {
            let server = start(temporary).await;
            assert_eq!(has_files(&server), is_safe, "{mode:o} {}", temporary.display());
            let api_key = server.dev_api_key().await;
            assert!(api_key.starts_with("kes:v1:"), "{api_key}");
            if !is_safe {
                assert_eq!(fs::read_dir(&inner).expect("it is ours").count(), 0);
                assert_eq!(fs::read_dir(outer.path()).expect("it is ours").count(), 2);
            }
            server.stop().await;
        }
    }
}

/// The addresses that a process, alone in a network, listens on, as the kernel writes them.
fn listening(pid: u32) -> Vec<String> {
    let tables = ["tcp", "tcp6"].map(|name| format!("/proc/{pid}/net/{name}"));
    let lines = tables.map(|table| fs::read_to_string(table).expect("the kernel's table")).concat();
    let fields = lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = fields.filter(|fields| fields.get(3) == Some(&"0A"));
    listening.map(|fields| fields[1].to_owned()).collect()
}

#[tokio::test]
async fn it_listens_on_this_machine_alone_by_default() {
    let what = "where --dev listens";
    let (Some(unshare), Some(_)) = (tool("unshare", None, what), tool("ip", None, what)) else {
        return;
    };
    // A network of its own, where the port is free.
    let within = |script: &str| {
        let mut command = Command::new(unshare.path());
        let script = format!("ip link set lo up && {script}");
        command.args(["--map-root-user", "--net", "sh", "-c", &script]).arg(kes().path());
        command
    };
    if finish(&mut within("true")).await.code != Some(0) {
        return skipped(&format!("{what}: no network namespaces"));
    }
    // Ports are in hexadecimal, and the addresses of IPv4 from their last byte on.
    for (arguments, listens, says) in [
        ("", "0100007F:1CCD", "Address     127.0.0.1:7373 (this machine alone)"),
        (
            "--addr [::1]:7374",
            "00000000000000000000000001000000:1CCE",
            "Only this machine can reach",
        ),
        ("--addr :7375", "00000000000000000000000000000000:1CCF", "Other machines can reach"),
        ("--addr 0.0.0.0:7376", "00000000000000000000000000000000:1CD0", "(every interface)"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = within(&format!("exec \"$0\" server --dev {arguments}"));
        command.env("TMPDIR", folder.path());
        let server = Server::launch(command, Path::new("")).await;
        let line = server.stdout().find(|line| line.contains(says)).await;
        assert!(line.is_some(), "{says}: {:#?}", server.stdout().so_far());
        assert_eq!(listening(server.pid()), [listens], "{arguments}");
        server.stop().await;
    }
}

#[tokio::test]
async fn its_certificate_is_for_the_given_address() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = kes().command();
    command.args(["server", "--dev", "--addr", "127.0.0.9:0"]).env("TMPDIR", folder.path());
    let server = Server::launch(command, Path::new("")).await;
    let last = server.stdout().find(|line| line.contains("kes key ls -k")).await;
    assert!(last.is_some(), "the banner has no line for the command line");
    let lines = server.stdout().so_far();
    let ca = lines.iter().find(|line| line.contains("MINIO_KMS_KES_CAPATH=")).expect("a line");
    // Without -k: the certificate is checked.
    let lines = format!("{}\n{ca}\nkes key create my-a\nkes key ls", command_lines(&server));
    assert_eq!(shell(folder.path(), &lines).await, "Key\nmy-a\n", "{lines}");
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
        let variable = lines.iter().find(|line| line.contains("MINIO_KMS_KES_CAPATH="));
        let variable = variable.expect("a line for MinIO").trim();
        let lines = format!("{save}\n{variable}\ncat $MINIO_KMS_KES_CAPATH");
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
