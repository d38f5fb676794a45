//! The server warns when its own certificate has expired, soon will, or is not valid yet.

use kes_harness::Setup;
use kes_harness::pki::Authority;

/// Starts and stops a server with a certificate, and those of CAs after it, for days around today.
/// Gives the warnings about them.
async fn warnings(own: (i64, i64), ca: (i64, i64)) -> Vec<String> {
    let setup = Setup::new();
    let authority = Authority::new();
    let server = authority.issue_server_for(&["kes.example.org", "127.0.0.1"], own);
    let chain = server.with_chain(&[server.certificate(), &authority.certificate_for(ca)]);
    let write = |name: &str, text: String| {
        std::fs::write(setup.folder().join(name), text).expect("the folder is ours");
    };
    write("server.crt", chain.chain_pem());
    write("server.key", chain.key_pem());
    let (_, log) = setup.start().await.stop_and_read().await;
    let is_warning = |line: &&str| line.contains("WARN") && line.contains("certificate");
    log.lines().filter(is_warning).map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn a_certificate_that_expires_within_30_days_is_warned_about() {
    for days in [0, 12, 29] {
        let found = warnings((-60, days), (-60, 1000)).await;
        let [line] = &found[..] else { panic!("{found:?}") };
        for words in [
            "the server certificate expires soon",
            "kes.example.org",
            "CN=localhost",
            "not_after=20",
            &format!("days_left={days} "),
            "renewed certificate into tls.cert",
        ] {
            assert!(line.contains(words), "{words}: {line}");
        }
    }
    assert_eq!(warnings((-60, 31), (-60, 31)).await, [""; 0]);
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_warned_about() {
    let found = warnings((-60, -4), (-60, 1000)).await;
    let [line] = &found[..] else { panic!("{found:?}") };
    for words in ["the server certificate has expired", "kes.example.org", "days_ago=3", "renewed"]
    {
        assert!(line.contains(words), "{words}: {line}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_warned_about() {
    let found = warnings((2, 400), (-60, 1000)).await;
    let [line] = &found[..] else { panic!("{found:?}") };
    for words in ["the server certificate is not valid yet", "not_before=20", "clock"] {
        assert!(line.contains(words), "{words}: {line}");
    }
}

#[tokio::test]
async fn the_whole_chain_is_looked_at() {
    let found = warnings((-60, 12), (-60, -4)).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].contains("a CA certificate of tls.cert has expired"), "{found:?}");
    assert!(found[1].contains("CN=authority"), "{found:?}");
}
