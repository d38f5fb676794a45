//! What files mean, beyond that they load.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

mod folder;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use folder::Folder;
use kes_config::{AuditEvents, Config, ConfigError, LogLevel};
use kes_types::{KeyName, PolicyName};
use proptest::prelude::{ProptestConfig, any, proptest};

const BASE: &str = "admin: { identity: disabled }\ntls: { key: ./server.key, cert: ./server.cert }\n\
                    keystore: { fs: { path: ./keys } }\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    kes_config::parse(text, Path::new("kes.yaml"), &Folder::enter().environment())
}

fn corpus(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid").join(name);
    parse(&fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

fn patterns(config: &Config, policy: &str) -> (Vec<String>, Vec<String>) {
    let policy = config.live.policies.policy(&PolicyName::parse(policy).unwrap()).unwrap();
    let texts =
        |patterns: &[kes_policy::Pattern]| patterns.iter().map(ToString::to_string).collect();
    (texts(policy.allow()), texts(policy.deny()))
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn scalars_are_their_texts() {
    let config = corpus("texts-that-look-like-numbers.yaml");
    let keys: Vec<_> = config.keys.iter().map(KeyName::as_str).collect();
    assert_eq!(keys, ["123", "0123", "1e5", "on", "true"]);
    assert_eq!(config.live.policies.admin().as_str(), "1".repeat(64));
    assert!(config.live.policies.admin().identity().is_some());
    assert_eq!(config.live.policies.identities().len(), 3);
    assert_eq!(patterns(&config, "0123").0, ["/v1/metrics"]);
}

#[test]
fn merged_maps_fill_in_what_is_not_there() {
    let config = corpus("anchors-and-merge-keys.yaml");
    let allow = vec!["/v1/key/decrypt/my-app*".to_owned()];
    assert_eq!(patterns(&config, "writer"), (allow.clone(), vec![]));
    let deny = vec!["/v1/key/decrypt/my-app-secret*".to_owned()];
    assert_eq!(patterns(&config, "both"), (allow, deny));
    // What stands in the map itself wins over what is merged: one identity each, and none.
    assert_eq!(config.live.policies.identities().len(), 2);
}

#[test]
fn identities_are_lowered() {
    let config = corpus("upper-case-identities.yaml");
    assert_eq!(config.live.policies.admin().as_str(), "abcdef01".repeat(8));
    let identity = "a".repeat(64).parse().unwrap();
    assert!(config.live.policies.subject(&identity).is_known());
    assert!(config.live.tls.proxy.identities.contains(&"b".repeat(64).parse().unwrap()));
}

#[test]
fn switches_and_levels_mean_what_they_say() {
    let config = corpus("levels.yaml");
    assert_eq!(config.live.log.error, LogLevel::At(6));
    assert_eq!(config.live.log.audit, AuditEvents::All);
    assert_eq!(config.live.tls.auth, kes_config::ClientAuth::On);
    assert_eq!(config.live.tls.ca.unwrap().len(), 1);
    let config = corpus("switches-in-other-cases.yaml");
    assert_eq!(config.live.log.error, LogLevel::WARN);
    let api: Vec<_> =
        config.live.api.iter().map(|api| (api.path.as_str(), api.skip_auth, api.timeout)).collect();
    assert_eq!(
        api,
        [
            ("/v1/ready", true, Some(Duration::from_secs(15))),
            ("/v1/key/generate/", false, Some(Duration::from_mins(1))),
            ("/v1/status", true, None),
        ]
    );
}

#[test]
fn the_audit_log_writes_changes_of_keys_all_requests_or_nothing() {
    let audit = |log: &str| parse(&format!("{BASE}{log}")).map(|config| config.live.log.audit);
    for (text, events) in [
        ("", AuditEvents::Changes),
        ("log: {}", AuditEvents::Changes),
        ("log: { error: off }", AuditEvents::Changes),
        ("log: { audit: '' }", AuditEvents::Changes),
        ("log: { audit: Changes }", AuditEvents::Changes),
        ("log: { audit: on }", AuditEvents::All),
        ("log: { audit: info }", AuditEvents::All),
        ("log: { audit: warn-4 }", AuditEvents::All),
        ("log: { audit: info+1 }", AuditEvents::Off),
        ("log: { audit: error }", AuditEvents::Off),
        ("log: { audit: OFF }", AuditEvents::Off),
    ] {
        assert_eq!(audit(text).unwrap(), events, "{text}");
    }
    let error = audit("log: { audit: keys }").unwrap_err().to_string();
    assert!(error.contains("log.audit") && error.contains("changes, on, off"), "{error}");
    for text in ["log: { audit: true }", "log: { audit: false }", "log: { error: changes }"] {
        assert!(audit(text).is_err(), "{text}");
    }
}

#[test]
fn the_error_log_shows_warnings_unless_configured() {
    for (text, level) in [
        ("", LogLevel::WARN),
        ("log: { audit: on }", LogLevel::WARN),
        ("log: { error: on }", LogLevel::WARN),
        ("log: { error: error }", LogLevel::ERROR),
        ("log: { error: info }", LogLevel::INFO),
    ] {
        let config = parse(&format!("{BASE}{text}")).unwrap();
        assert_eq!(config.live.log.error, level, "{text}");
    }
}

#[test]
fn an_encrypted_key_is_the_plain_one() {
    let (plain, encrypted) = (corpus("guide.yaml"), corpus("encrypted-key.yaml"));
    assert!(plain.live.tls.key.der() == encrypted.live.tls.key.der());
    assert_eq!(plain.live.tls.chain, encrypted.live.tls.chain);
    assert!(!format!("{encrypted:?}").contains("hunter"));
}

#[test]
fn patterns_and_versions_are_not_taken_from_the_environment() {
    let text = format!("{BASE}policy: {{ a: {{ allow: [ \"${{ON}}\" ] }} }}\n");
    assert_eq!(patterns(&parse(&text).unwrap(), "a").0, ["${ON}"]);
    assert!(parse(&format!("{BASE}version: ${{ON}}\n")).is_err());
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kes.yaml");
    let load = || kes_config::load(&path, &BTreeMap::new()).unwrap_err();
    let error = load();
    assert_eq!(error.to_string(), format!("{}: cannot read the file", path.display()));
    assert!(error.source().unwrap().to_string().contains("No such file"));
    fs::write(&path, b"admin:\n  identity: \xff\n").unwrap();
    assert_eq!(load().to_string(), format!("{}:2: the file is not UTF-8", path.display()));
    fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(load().to_string(), format!("{}: the file is larger than 1 MiB", path.display()));
    assert!(parse(&"#".repeat((1 << 20) + 1)).unwrap_err().to_string().ends_with("than 1 MiB"));
    fs::write(&path, "#".repeat(1 << 20)).unwrap();
    assert_eq!(load().to_string(), format!("{}: the file is empty", path.display()));
}

#[test]
fn aliases_cannot_blow_a_file_up() {
    let long = "x".repeat(100_000);
    let many = "- *a\n    ".repeat(200);
    let error = parse(&format!("{BASE}policy:\n  a:\n    allow:\n    - &a {long}\n    {many}\n"));
    assert_eq!(error.unwrap_err().to_string(), "kes.yaml: aliases make the file larger than 8 MiB");
    let nested =
        "policy:\n  a: &p\n    allow: &l [ &s x, *s, *s, *s, *s, *s, *s, *s ]\n    deny: *l\n";
    let mut text = format!("{BASE}{nested}");
    text += &lines(1000, |index| format!("  p{index}: *p"));
    assert!(parse(&text).is_ok());
    // An alias inside of what it stands for.
    assert!(parse(&format!("{BASE}policy: &p {{ a: *p }}\n")).is_err());
    assert!(parse(&format!("{BASE}keys: &k [ *k ]\n")).is_err());
    assert!(parse(&format!("{BASE}policy: &p {{ <<: *p }}\n")).is_err());
}

#[test]
fn deep_nesting_is_survived() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    assert_eq!(parse(&format!("root: {deep}\n{BASE}")).unwrap().warnings.len(), 1);
    assert!(parse(&format!("keys: {deep}\n{BASE}")).is_err());
    assert!(parse(&deep).is_err());
}

#[test]
fn warnings_beyond_a_hundred_have_no_line() {
    let identities = lines(20_000, |index| format!("    - not-{index}"));
    let config = parse(&format!("{BASE}policy:\n  a:\n    identities:\n{identities}")).unwrap();
    let warning = |index: usize| config.warnings[index].to_string();
    assert_eq!(config.warnings.len(), 20_000);
    assert!(warning(0).starts_with("kes.yaml:7: policy.a.identities[0]: "), "{}", warning(0));
    assert!(warning(99).starts_with("kes.yaml:106: "), "{}", warning(99));
    assert!(warning(100).starts_with("kes.yaml: policy.a.identities[100]: "), "{}", warning(100));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_a_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_mixture_of_yaml_is_a_panic(text in "[a-z0-9:{}&*!<>|~\\[\\],'\"$#\\-\n \t]{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damaged_file_is_a_panic_or_more_than_a_line(
        file in 0..8_usize,
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0..6_usize, "[a-z&*:<>\\[\\]{}~!|'\"$\n #-]{0,4}"), 1..6),
    ) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/valid");
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        let mut characters: Vec<char> =
            fs::read_to_string(&files[file]).unwrap().chars().collect();
        for (at, removed, added) in cuts {
            let start = at.index(characters.len() + 1);
            let end = (start + removed).min(characters.len());
            characters.splice(start..end, added.chars());
        }
        let text: String = characters.into_iter().collect();
        match parse(&text) {
            Ok(config) => {
                for warning in config.warnings {
                    assert!(!warning.to_string().contains('\n'));
                }
            }
            Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
}
