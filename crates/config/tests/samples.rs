//! The files in `config/` load as they are, and say what the defaults are.

#![expect(clippy::unwrap_used, reason = "a test ends where something cannot be done")]

mod folder;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use folder::Folder;
use kes_config::{
    AuditEvents, AwsCredentials, CacheExpiry, Config, Keystore, KmsEndpoint, KvVersion, Log,
    LogLevel, VaultCredentials, VaultJwt,
};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

fn load(name: &str) -> Config {
    let environment = Folder::enter().environment();
    let config = kes_config::load(&samples().join(name), &environment);
    config.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn all_samples_load_without_a_warning() {
    let mut count = 0;
    for entry in fs::read_dir(samples()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(load(&name).warnings.is_empty(), "{name}");
        count += 1;
    }
    assert!(count >= 7);
}

#[test]
fn the_reference_file_shows_the_defaults() {
    let (least, reference) = (load("minimal.yaml"), load("reference.yaml"));
    assert_eq!(least.address, reference.address);
    assert_eq!(least.address.to_string(), "0.0.0.0:7373");
    assert_eq!(least.limits, reference.limits);
    let (least, reference) = (least.live, reference.live);
    assert_eq!(least.cache, reference.cache);
    assert_eq!(least.cache, CacheExpiry::default());
    assert_eq!(least.cache.any, Duration::from_mins(5));
    assert_eq!(least.cache.unused, Duration::from_secs(30));
    assert_eq!(least.cache.offline, Duration::ZERO);
    assert_eq!(least.log, reference.log);
    assert_eq!(least.log, Log::default());
    assert_eq!((least.log.error, least.log.audit), (LogLevel::WARN, AuditEvents::Changes));
    assert_eq!(least.tls.auth, reference.tls.auth);
    assert_eq!((least.tls.ca, &least.tls.proxy), (None, &reference.tls.proxy));
    assert_eq!(least.tls.proxy.header, "X-Tls-Client-Cert");
    assert!(reference.tls.ca.is_none());
}

#[test]
fn the_sample_for_one_application_says_what_it_reads_like() {
    let config = load("fs.yaml");
    let Keystore::Fs(fs) = config.keystore else { panic!("not the filesystem") };
    assert_eq!(fs.path, Path::new("./keys"));
    assert_eq!(
        config.keys.iter().map(kes_types::KeyName::as_str).collect::<Vec<_>>(),
        ["minio-default-key"]
    );
    assert!(config.live.api[0].skip_auth);
    assert_eq!(config.live.api[0].path, "/v1/ready");
    assert_eq!(config.live.policies.admin().as_str(), "disabled");
    assert_eq!(config.live.policies.identities().len(), 1);
}

#[test]
fn the_samples_for_vault_say_what_they_read_like() {
    let Keystore::Vault(approle) = load("vault.yaml").keystore else { panic!("not Vault") };
    assert_eq!(approle.endpoint, "https://vault.example.com:8200");
    assert_eq!((approle.engine.as_str(), approle.version), ("kv", KvVersion::V2));
    assert_eq!((approle.prefix.as_str(), approle.ping), ("minio", Duration::from_secs(10)));
    assert_eq!(approle.ca.unwrap().len(), 1);
    assert!(matches!(approle.login.credentials, VaultCredentials::AppRole { .. }));
    let Keystore::Vault(pod) = load("vault-kubernetes.yaml").keystore else { panic!("not Vault") };
    let VaultCredentials::Kubernetes { role, jwt: VaultJwt::File(path) } = pod.login.credentials
    else {
        panic!("not a login with a token's file");
    };
    assert_eq!(role, "kes");
    assert_eq!(path, Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token"));
}

#[test]
fn the_samples_for_aws_say_what_they_read_like() {
    for (name, is_given) in [("aws.yaml", true), ("aws-irsa.yaml", false)] {
        let Keystore::Aws(aws) = load(name).keystore else { panic!("not AWS") };
        assert_eq!(aws.endpoint, "https://secretsmanager.us-east-2.amazonaws.com");
        assert_eq!((aws.region.as_str(), aws.prefix.as_str()), ("us-east-2", "minio"));
        assert_eq!(aws.kms_key.as_deref(), Some("alias/kes"));
        let regional = KmsEndpoint::Regional { use_fips: false, use_dual_stack: false };
        assert_eq!(aws.kms_endpoint, regional);
        assert!(aws.tags.is_none());
        assert_eq!(matches!(aws.credentials, AwsCredentials::Static { .. }), is_given);
    }
}
