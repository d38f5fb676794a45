//! Tests of the errors about an invalid configuration.

use std::fs;

use crate::{Answer, kes_in};

#[test]
fn every_fault_of_the_file_is_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().canonicalize().unwrap();
    let text = "address: nowhere\n\
                admin: { identity: disabled }\n\
                tls:\n  key: server.key\n  cert: ${CERT}\n  password: ${PASSWORD}\n\
                cache: { expiry: { any: 1d } }\n\
                keystore: { fs: { path: ~/keys } }\n";
    fs::write(here.join("kes.yaml"), text).unwrap();
    let environment = [("CERT", "/no/such.cert"), ("PASSWORD_FILE", "secrets/password")];
    let Answer { code, out, err } =
        kes_in(&here, &environment, &["server", "--config", "kes.yaml"]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    let relative = format!("(relative to {})", here.display());
    let missing = "No such file or directory (os error 2)";
    let want = [
        "1: address: the server cannot listen on 'nowhere': an address is `host:port`, for example \
         `0.0.0.0:7373`, `:7373` or `[::1]:7373`"
            .to_owned(),
        format!("4: tls.key: cannot read 'server.key' {relative}: {missing}"),
        format!("5: tls.cert: cannot read the value of `${{CERT}}`: {missing}"),
        format!(
            "6: tls.password: cannot read the file 'secrets/password' {relative} of the environment \
             variable `PASSWORD_FILE`: {missing}"
        ),
        "7: cache.expiry.any: '1d' is no duration; it wants numbers with units like `5m0s`, `1h30m` \
         or `500ms`"
            .to_owned(),
        "8: keystore.fs.path: begins with `~`, which is not replaced by a home folder: write the \
         whole path"
            .to_owned(),
    ];
    let want = want.map(|line| format!("Error: kes.yaml:{line}"));
    assert_eq!(err.lines().collect::<Vec<_>>(), want);
}

#[test]
fn beyond_twenty_faults_the_others_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let keys: Vec<_> = (0..25).map(|index| format!("- name: my.key.{index}")).collect();
    let text = format!("keys:\n{}\n", keys.join("\n"));
    fs::write(folder.path().join("kes.yaml"), text).unwrap();
    let Answer { code, err, .. } = kes_in(folder.path(), &[], &["server", "--config", "kes.yaml"]);
    let lines: Vec<_> = err.lines().collect();
    assert_eq!((code, lines.len()), (Some(1), 21));
    assert!(lines[19].starts_with("Error: kes.yaml:21: keys[19].name: "), "{err}");
    // The names, and what is missing: the admin, the key, the certificate and the store.
    assert_eq!(lines[20], "Error: and 9 more");
}

#[test]
fn a_key_folder_that_cannot_be_opened_is_looked_for_in_a_folder_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().canonicalize().unwrap();
    let pem = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/tests/pem");
    let text = format!(
        "address: 127.0.0.1:0\nadmin: {{ identity: disabled }}\n\
         tls: {{ key: {pem}/p256.key, cert: {pem}/p256.cert }}\n\
         keystore: {{ fs: {{ path: ./kes.yaml }} }}\n"
    );
    fs::write(here.join("kes.yaml"), text).unwrap();
    let Answer { code, err, .. } = kes_in(&here, &[], &["server", "--config", "kes.yaml"]);
    let want = format!("Error: keystore.fs.path (relative to {}): cannot open key", here.display());
    let error = err.lines().find(|line| line.starts_with("Error: ")).unwrap_or_default();
    assert_eq!(code, Some(1));
    assert!(error.starts_with(&want), "{err}");
}

#[test]
fn a_configuration_that_is_not_there_is_looked_for_in_a_folder_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().canonicalize().unwrap();
    let Answer { code, err, .. } = kes_in(&here, &[], &["server", "--config", "./kes.yaml"]);
    assert_eq!(code, Some(1));
    let want = format!(
        "Error: ./kes.yaml: cannot read the file (relative to {}): No such file or directory (os \
         error 2)\n",
        here.display()
    );
    assert_eq!(err, want);
    let absolute = here.join("kes.yaml").display().to_string();
    let Answer { err, .. } = kes_in(&here, &[], &["server", "--config", &absolute]);
    assert!(!err.contains("relative"), "{err}");
}
