//! Tests that API keys and passwords in wrong arguments are never repeated.

use std::path::Path;

use crate::{kes, kes_in};

const API_KEY: &str = "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";

/// The part of the API key that must not be printed.
const SECRET: &str = "AD9E7F";

#[test]
fn an_api_key_is_never_repeated() {
    let bare = &API_KEY["kes:v1:".len()..];
    let long = format!("{API_KEY}{bare}");
    for key in [API_KEY, bare, &API_KEY[..30], &long, &API_KEY.replace("kes", "KES")] {
        let flag = format!("--{key}");
        let equals = format!("--encrypt={key}");
        for arguments in [
            &[key][..],
            &["key", key],
            &["help", key],
            &["help", "identity", key],
            &["server", key],
            &["server", "--dev", key],
            &["server", "--dev", "--addr", key],
            &["server", "--config", key],
            &["key", "create", "a", "--color", key],
            &["key", "create", "a.b", key],
            &["key", "decrypt", "a", key, "no base64"],
            &["key", "dek", "a", "YQ==", key],
            &["key", "ls", &flag],
            &["status", "--server", "a", key],
            &["status", "--json", "-k", "-a", "x", key],
            &["identity", "of", "a", key],
            &["identity", "new", "a", key],
            &["identity", "new", "--ip", key],
            &["identity", "new", "--dns", key, "--dns", "a b"],
            &["identity", "new", "--expiry", key],
            &["identity", "new", "--key", "a", "--cert", "b", &equals],
            &["update", key],
        ] {
            let answer = kes(arguments);
            assert_ne!(answer.code, Some(0), "{arguments:?}");
            assert!(!answer.err.contains(SECRET), "{arguments:?}: {}", answer.err);
            assert!(!answer.out.contains(SECRET), "{arguments:?}: {}", answer.out);
            assert!(answer.err.contains("Error: "), "{arguments:?}: {}", answer.err);
        }
    }
}

#[test]
fn an_api_key_is_no_key_name_and_no_server() {
    for arguments in [
        &["key", "create", API_KEY][..],
        &["key", "dek", API_KEY],
        &["key", "ls", API_KEY],
        &["status", "-k", "--server", API_KEY, "-a", "x"],
        &["identity", "new", API_KEY],
        &["identity", "new", &API_KEY["kes:v1:".len()..]],
        &["identity", "new", &format!("key is {API_KEY}")],
    ] {
        let answer = kes(arguments);
        assert_eq!((answer.code, answer.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!answer.err.contains(SECRET), "{arguments:?}: {}", answer.err);
    }
}

#[test]
fn a_password_in_the_address_of_a_server_is_not_repeated() {
    for address in ["https://u:hunter2@h:1", "u:hunter2@h", "a,https://hunter2,hunter2@h/"] {
        for answer in [
            kes(&["key", "ls", "-a", API_KEY, "-s", address]),
            kes(&["status", "-a", API_KEY, "--server", address]),
            kes_in(Path::new("."), &[("MINIO_KES_SERVER", address)], &["key", "ls", "-a", API_KEY]),
        ] {
            assert_eq!((answer.code, answer.out.as_str()), (Some(2), ""));
            assert!(!answer.err.contains("hunter2"), "{}", answer.err);
            assert!(answer.err.contains("leave out what stands before the '@'"), "{}", answer.err);
        }
    }
}

#[test]
fn a_password_is_not_repeated_where_a_command_was_expected() {
    for arguments in [
        &["hunter2"][..],
        &["key", "hunter2"],
        &["identity", "hunter2"],
        &["identity", "new", "minio", "hunter2"],
        &["identity", "new", "--key", "a", "--cert", "b", "--encrypt=hunter2"],
    ] {
        let answer = kes(arguments);
        assert_ne!(answer.code, Some(0), "{arguments:?}");
        assert!(!answer.err.contains("hunter2"), "{arguments:?}: {}", answer.err);
        assert!(answer.err.starts_with("Error: "), "{arguments:?}: {}", answer.err);
    }
}
