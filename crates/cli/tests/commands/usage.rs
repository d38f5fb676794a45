//! Tests of help, versions, exit codes, and errors about missing arguments.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

use crate::{Answer, kes, kes_in};

const API_KEY: &str = "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";

#[test]
fn help_and_version_go_to_standard_output() {
    for arguments in [&["--help"][..], &["server", "--help"], &["key", "dek", "-h"]] {
        let Answer { code, out, err } = kes(arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains("Usage: kes"), "{out}");
        assert!(!out.contains("--auth") && !out.contains("--mlock"), "{out}");
    }
    for version in ["--version", "-v", "-V"] {
        let Answer { code, out, err } = kes(&[version]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let words: Vec<_> = out.split(' ').collect();
        assert_eq!(words[..3], ["kes", env!("CARGO_PKG_VERSION"), "(commit"], "{out}");
    }
}

#[test]
fn help_is_a_command_too() {
    for command in [&[][..], &["server"], &["key"], &["key", "ls"], &["identity", "new"]] {
        let help = kes(&[&["help"], command].concat());
        assert_eq!((help.code, help.err.as_str()), (Some(0), ""), "{command:?}");
        assert_eq!(help, kes(&[command, &["--help"]].concat()));
        assert!(help.out.contains("\nExamples:\n  kes "), "{}", help.out);
    }
    assert_eq!(kes(&["help", "none"]).code, Some(2));
}

#[test]
fn commands_of_kes_that_are_refused_say_what_to_do_instead() {
    for (arguments, instead) in [
        (&["update"][..], "install the new release"),
        (&["update", "--downgrade", "-o", "kes", "v1"], "install the new release"),
        (&["update", "--help"], "install the new release"),
        (&["migrate"], "copy its entries"),
        (&["migrate", "--from", "a.yml", "--to=b.yml", "-f", "my-*"], "copy its entries"),
        (&["migrate", "--server", "127.0.0.1:7373", "-k"], "MinKMS"),
    ] {
        let Answer { code, out, err } = kes(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(err.starts_with("Error: ") && err.contains(instead), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    assert!(!kes(&["--help"]).out.contains("update"));
}

#[test]
fn the_nearest_command_is_named() {
    let Answer { code, err, .. } = kes(&["key", "lst"]);
    assert_eq!(code, Some(2));
    assert!(err.starts_with("Error: unrecognized subcommand\n") && err.contains("'ls'"), "{err}");
}

#[test]
fn commands_that_are_not_understood_end_with_2() {
    for arguments in [
        &[][..],
        &["key"],
        &["no-such-command"],
        &["server"],
        &["server", "--dev", "--config", "kes.yml"],
        &["key", "create"],
        &["key", "create", "no/name"],
        &["key", "dek", "my-key", "no base64"],
        &["key", "ls", "a*b"],
        &["key", "ls", "--color", "sometimes"],
        &["identity"],
        &["identity", "--json"],
        &["identity", "of"],
        &["identity", "new", "--key", "only"],
        &["identity", "new", "--encrypt"],
        &["identity", "new", "--dns", "a b"],
        &["identity", "new", "--dns", ""],
        &["identity", "new", "--dns", "*.*"],
        &["identity", "new", "--dns", "a..b"],
        &["identity", "new", "--dns", "https://a"],
        &["identity", "new", "--ip", "localhost"],
        &["identity", "new", "--ip", "1.2.3.4/8"],
        &["key", "ls", "-s", "http://plain", "-a", API_KEY],
    ] {
        let Answer { code, out, err } = kes(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn without_an_api_key_it_is_said_where_to_put_one() {
    let Answer { code, out, err } = kes(&["status"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(
        err,
        "Error: no API key is given\n\
         Hint: set MINIO_KES_API_KEY or MINIO_KES_API_KEY_FILE, or MINIO_KES_KEY_FILE and \
         MINIO_KES_CERT_FILE\n"
    );
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    // Bound, but not listening: connections are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let Answer { code, out, err } =
        kes(&["key", "create", "my-key", "-k", "-s", &address, "-a", API_KEY]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert_eq!(
        err,
        format!(
            "Error: cannot create key 'my-key': no key server can be reached: \
             https://{address}: connection failed: Connection refused (os error 111)\n\
             Hint: is the server running? --server or MINIO_KES_SERVER names another one\n"
        )
    );
}

#[test]
fn credentials_that_cannot_be_used_are_refused_without_being_shown() {
    let Answer { code, err, .. } = kes(&["status", "-k", "-a", "kes:v1:c2VjcmV0"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("Error: ") && !err.contains("c2VjcmV0"), "{err}");

    let folder = tempfile::tempdir().unwrap();
    let files = [("MINIO_KES_KEY_FILE", "a.key"), ("MINIO_KES_CERT_FILE", "a.crt")];
    let Answer { code, err, .. } = kes_in(folder.path(), &files, &["status", "-k"]);
    assert_eq!(code, Some(1));
    assert_eq!(err, "Error: cannot read 'a.crt': No such file or directory (os error 2)\n");
}

#[test]
fn colours_are_used_where_they_are_asked_for() {
    assert!(kes(&["status", "--color", "always"]).err.starts_with("\u{1b}[1;31mError:"));
    assert!(kes(&["status"]).err.starts_with("Error:"));
}
