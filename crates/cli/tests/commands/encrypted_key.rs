//! Tests of `kes identity new --encrypt`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use kes_crypto::ApiKey;
use kes_crypto::pem::{self, PemError};
use kes_types::Secret;
use tempfile::TempDir;

use crate::{Answer, finish, kes_in};

const PASSWORD: &str = "correct horse";
const VARIABLE: &str = "MINIO_KMS_KES_KEY_PASSWORD";
const NEW: [&str; 6] = ["identity", "new", "--key", "d.key", "--cert", "d.crt"];

fn new(folder: &TempDir, environment: &[(&str, &str)], arguments: &[&str]) -> Answer {
    kes_in(folder.path(), environment, &[&NEW[..], arguments].concat())
}

/// Returns the text of the key file, which must be readable by its owner only and decrypt with this password
/// to the API key that was printed.
fn key_of(folder: &TempDir, answer: &Answer, password: &[u8]) -> String {
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    let path = folder.path().join("d.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(pem::private_key(text.as_bytes(), None).unwrap_err(), PemError::PasswordNeeded);
    let key = pem::private_key(text.as_bytes(), Some(&Secret::new(password.to_vec()))).unwrap();
    let shown = answer.out.lines().find_map(|line| line.strip_prefix("   kes:v1:")).unwrap();
    let seed = ApiKey::from_seed(&key.der().expose()[16..]).unwrap();
    assert_eq!(seed.text().expose(), format!("kes:v1:{shown}").as_bytes());
    text
}

fn write(folder: &TempDir, contents: impl AsRef<[u8]>, mode: u32) {
    let path = folder.path().join("password");
    fs::write(&path, contents).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn by_default_it_has_the_headers_that_minio_reads() {
    for flag in ["--encrypt", "--encrypt=legacy"] {
        let folder = tempfile::tempdir().unwrap();
        let answer = new(&folder, &[(VARIABLE, PASSWORD)], &[flag]);
        let text = key_of(&folder, &answer, PASSWORD.as_bytes());
        let head = "-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,";
        assert!(text.starts_with(head), "{text}");
    }
}

#[test]
fn it_is_pkcs8_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let answer = new(&folder, &[(VARIABLE, PASSWORD)], &["--encrypt=pkcs8"]);
    let text = key_of(&folder, &answer, PASSWORD.as_bytes());
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\nM"), "{text}");
}

#[test]
fn a_password_file_counts_before_the_environment_and_without_its_last_line_end() {
    for (contents, password) in [
        (&b"secret"[..], &b"secret"[..]),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b" two words \n", b" two words "),
        (b"one\ntwo\n\n", b"one\ntwo\n"),
        (b"cr\r", b"cr\r"),
        (b"\xff\xfe\n", b"\xff\xfe"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, contents, 0o600);
        let arguments = ["--encrypt", "--password-file", "password"];
        let answer = new(&folder, &[(VARIABLE, PASSWORD)], &arguments);
        key_of(&folder, &answer, password);
        assert_eq!(answer.err, "");
    }
}

#[test]
fn a_password_file_that_others_can_read_is_warned_about() {
    for mode in [0o604, 0o640, 0o644] {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, PASSWORD, mode);
        let answer = new(&folder, &[], &["--encrypt", "--password-file", "password"]);
        key_of(&folder, &answer, PASSWORD.as_bytes());
        assert!(answer.err.starts_with("Warning: other users can read the password in 'password'"));
    }
}

#[test]
fn passwords_that_are_empty_missing_or_too_long_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let too_long = "x".repeat(4097);
    for (contents, error) in [
        (Some(""), "the password is empty"),
        (Some("\n"), "the password is empty"),
        (Some("\r\n"), "the password is empty"),
        (Some(&too_long), "a password has 4096 bytes at most"),
        (None, "No such file or directory (os error 2)"),
    ] {
        fs::remove_file(folder.path().join("password")).unwrap_or_default();
        if let Some(contents) = contents {
            write(&folder, contents, 0o600);
        }
        let answer = new(&folder, &[], &["--encrypt", "--password-file", "password"]);
        assert_eq!((answer.code, answer.out.as_str()), (Some(1), ""));
        assert_eq!(answer.err, format!("Error: 'password': {error}\n"));
        assert!(!folder.path().join("d.key").exists());
    }
}

#[test]
fn without_a_terminal_it_is_said_how_a_script_gives_a_password() {
    let folder = tempfile::tempdir().unwrap();
    // Without a controlling terminal no password can be read; with one this test would wait for input.
    let mut command = Command::new("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_kes")]).args(NEW).arg("--encrypt");
    command.current_dir(folder.path()).stdin(std::process::Stdio::null());
    for password in [None, Some("")] {
        command.env_remove(VARIABLE);
        command.envs(password.map(|password| (VARIABLE, password)));
        let Answer { code, err, .. } = finish(&mut command);
        assert_eq!(code, Some(1));
        assert!(err.starts_with("Error: cannot ask for a password on the terminal: "), "{err}");
        assert!(err.contains("\nHint: ") && err.contains("--password-file"), "{err}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
