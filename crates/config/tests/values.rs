//! What files mean, beyond that they load.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

mod folder;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use folder::Folder;
use kes_config::{
    AuditEvents, Config, ConfigErrors, Keystore, LogLevel, VaultCredentials, VaultJwt,
};
use kes_types::{KeyName, PolicyName};
use proptest::prelude::{ProptestConfig, any, proptest};

const BASE: &str = "admin: { identity: disabled }\ntls: { key: ./server.key, cert: ./server.cert }\n\
                    keystore: { fs: { path: ./keys } }\n";

fn parse(text: &str) -> Result<Config, ConfigErrors> {
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
fn values_come_from_files_without_their_last_line_end() {
    let config = corpus("secrets-in-files.yaml");
    assert_eq!(config.live.tls.chain, corpus("guide.yaml").live.tls.chain);
    let Keystore::Vault(vault) = config.keystore else { panic!("not Vault") };
    let VaultCredentials::Kubernetes { role, jwt: VaultJwt::Token(jwt) } = vault.login.credentials
    else {
        panic!("not a login with a token");
    };
    assert_eq!((role.as_str(), jwt.expose()), ("my-role", b"hunter2\n".as_slice()));
    // A variable that is set wins over the file of its name, even when it is set to nothing.
    let mut environment = Folder::enter().environment();
    environment.insert("EMPTY_FILE".to_owned(), "./secrets/password".to_owned());
    let text = format!("{BASE}cache: {{ expiry: {{ any: '${{EMPTY}}' }} }}");
    let config = kes_config::parse(&text, Path::new("kes.yaml"), &environment).unwrap();
    assert_eq!(config.live.cache.any, Duration::from_mins(5));
}

#[test]
fn a_store_that_is_blank_is_as_good_as_none() {
    let Keystore::Vault(vault) = corpus("keystore-blank-sections.yaml").keystore else {
        panic!("not Vault")
    };
    assert_eq!(vault.endpoint, "https://127.0.0.1:8200");
}

#[test]
fn secrets_are_taken_as_they_are() {
    let Keystore::Vault(vault) = corpus("secrets-with-dollars.yaml").keystore else {
        panic!("not Vault")
    };
    let VaultCredentials::AppRole { id, secret } = vault.login.credentials else {
        panic!("not AppRole")
    };
    assert_eq!((id.expose(), secret.expose()), (&b"~/hunter2"[..], &b"$HUNTER2"[..]));
}

const VAULT: &str = "admin: { identity: disabled }\n\
                     tls: { key: ./server.key, cert: ./server.cert }\n\
                     keystore:\n  vault:\n    endpoint: https://127.0.0.1:8200\n    \
                     approle: { id: a, secret: b }\n";

/// Reads a text in an environment with some more variables.
fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let mut environment = Folder::enter().environment();
    for (name, value) in variables {
        environment.insert((*name).to_owned(), (*value).to_owned());
    }
    kes_config::parse(text, Path::new("kes.yaml"), &environment)
}

fn anchors(config: Config) -> Option<usize> {
    let Keystore::Vault(vault) = config.keystore else { panic!("not Vault") };
    vault.ca.map(|anchors| anchors.len())
}

#[test]
fn vault_is_trusted_by_its_own_variables_where_the_file_names_nothing() {
    let quiet = |variables: &[(&str, &str)]| {
        let config = parse_with(VAULT, variables).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        anchors(config)
    };
    assert_eq!(quiet(&[]), None);
    assert_eq!(quiet(&[("VAULT_CACERT", ""), ("VAULT_TOKEN", "")]), None);
    assert_eq!(quiet(&[("VAULT_CACERT", "./vault-ca.cert")]), Some(1));
    assert_eq!(quiet(&[("VAULT_CAPATH", "./ca")]), Some(1));
    let text = format!("{VAULT}    tls: {{ ca: '' }}\n");
    assert_eq!(anchors(parse_with(&text, &[("VAULT_CAPATH", "./ca")]).unwrap()), Some(1));
    for (name, value) in [("VAULT_CACERT", "./no-such"), ("VAULT_CAPATH", "./empty")] {
        let errors = parse_with(VAULT, &[(name, value)]).unwrap_err().to_string();
        let place = "kes.yaml:4: keystore.vault.tls.ca: ";
        let shown = format!("the value of `${{{name}}}` (relative to ");
        assert!(errors.starts_with(place) && errors.contains(&shown), "{errors}");
        assert!(!errors.contains(value), "{errors}");
    }
}

#[test]
fn variables_of_vault_that_have_no_effect_are_warnings() {
    let warnings = |text: &str, variables: &[(&str, &str)]| {
        let config = parse_with(text, variables).unwrap();
        let warnings = config.warnings.iter().map(ToString::to_string);
        warnings.collect::<Vec<_>>()
    };
    let all = [
        "ADDR",
        "AGENT_ADDR",
        "CACERT_BYTES",
        "CLIENT_CERT",
        "CLIENT_KEY",
        "CLIENT_TIMEOUT",
        "HTTP_PROXY",
        "MAX_RETRIES",
        "NAMESPACE",
        "PROXY_ADDR",
        "RATE_LIMIT",
        "SKIP_VERIFY",
        "TLS_SERVER_NAME",
        "TOKEN",
    ];
    for name in all {
        for name in [format!("VAULT_{name}"), format!("BAO_{name}")] {
            let lines = warnings(VAULT, &[(&name, "hunter2")]);
            let want = format!(
                "kes.yaml:4: keystore.vault: the environment variable `{name}` is set and has no effect"
            );
            assert!(lines.len() == 1 && lines[0].starts_with(&want), "{lines:?}");
            assert!(!lines[0].contains("hunter2"), "{lines:?}");
            assert_eq!(warnings(BASE, &[(&name, "hunter2")]), [""; 0]);
        }
    }
    let many = [("VAULT_SKIP_VERIFY", "1"), ("VAULT_TOKEN", "t"), ("BAO_CACERT", "./no-such")];
    assert_eq!(warnings(VAULT, &many).len(), 3);
    // What counts already, and what the file itself names.
    let text = format!("{VAULT}    tls: {{ ca: ./vault-ca.cert }}\n");
    let trust = [("VAULT_CACERT", "./no-such"), ("VAULT_CAPATH", "./ca")];
    assert_eq!(warnings(&text, &trust).len(), 2);
    assert_eq!(
        warnings(VAULT, &[("VAULT_CACERT", "./ca/one.crt"), ("VAULT_CAPATH", "./x")]).len(),
        1
    );
    let text = VAULT.replace("https://127.0.0.1:8200", "${VAULT_ADDR}");
    let text = text.replace("secret: b", "secret: \"${VAULT_TOKEN}\"");
    let named = [("VAULT_ADDR", "https://v"), ("VAULT_TOKEN", "hunter2")];
    assert_eq!(warnings(&text, &named), [""; 0]);
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
    let errors = load();
    let [error] = errors.all() else { panic!("{errors}") };
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
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let ignored = parse(&format!("root: {}\n{BASE}", nested(10_000)));
    assert_eq!(ignored.unwrap().warnings.len(), 1);
    for deep in [nested(10_000), "[".repeat(300_000), "{a: ".repeat(100_000)] {
        assert!(parse(&format!("keys: {deep}\n{BASE}")).is_err());
        assert!(parse(&format!("x-a: {deep}")).is_err());
        assert!(parse(&deep).is_err());
    }
    // Blocks have no brackets to count.
    let blocks = lines(1000, |depth| format!("{}a:", " ".repeat(depth)));
    assert!(parse(&format!("x-a:\n{}\n{BASE}", blocks.replace("a:", " a:"))).is_ok());
    assert!(parse(&format!("{BASE}keys: {}", "- ".repeat(20_000))).is_err());
    let merged = lines(1000, |depth| format!("{}<<:", " ".repeat(depth)));
    assert!(parse(&format!("{BASE}policy:\n{}", merged.replace("<<:", " <<:"))).is_err());
}

#[test]
fn any_number_of_warnings_have_their_lines() {
    let identities = lines(20_000, |index| format!("    - not-{index}"));
    let config = parse(&format!("{BASE}policy:\n  a:\n    identities:\n{identities}")).unwrap();
    let warning = |index: usize| config.warnings[index].to_string();
    assert_eq!(config.warnings.len(), 20_000);
    assert!(warning(0).starts_with("kes.yaml:7: policy.a.identities[0]: "), "{}", warning(0));
    assert!(warning(99).starts_with("kes.yaml:106: "), "{}", warning(99));
    assert!(warning(19_999).starts_with("kes.yaml:20006: policy.a.identities[19999]: "));
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
            Err(errors) => {
                assert!(!errors.all().is_empty());
                for line in errors.lines() {
                    assert!(!line.contains('\n'), "{line}");
                }
            }
        }
    }
}
