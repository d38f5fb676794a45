//! Reads the section `keystore.vault`: the settings of the Vault store.

mod login;
mod variables;

use std::time::Duration;

use crate::cache;
use crate::certificate::{self, ClientIdentity, Files, Password};
use crate::cursor::{Cursor, Text};
use crate::endpoint;
use crate::error::Fault;
use crate::findings::{Findings, read_fields};
use crate::section::{Setting, section};

use login::{AppRoleSection, KubernetesSection};

pub use login::{VaultCredentials, VaultJwt, VaultLogin};

/// Settings of the Vault store.
#[derive(Clone, Debug)]
pub struct VaultKeystore {
    /// The URL, `http://` or `https://`, without a last slash.
    pub endpoint: String,
    /// The mount of the K/V engine.
    pub engine: String,
    /// The version of the K/V engine.
    pub version: KvVersion,
    /// The namespace of K/V and transit requests; none sends no namespace.
    pub namespace: Option<String>,
    /// The folder inside the mount; empty is the mount itself.
    pub prefix: String,
    /// The second layer of encryption, if there is one.
    pub transit: Option<VaultTransit>,
    /// The login.
    pub login: VaultLogin,
    /// The client certificate towards Vault, if there is one.
    pub client: Option<ClientIdentity>,
    /// Trust anchors for Vault's certificate, DER; none trusts the system's.
    pub ca: Option<Vec<Vec<u8>>>,
    /// The interval of checks of Vault's health.
    pub ping: Duration,
}

/// The version of a K/V engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvVersion {
    /// Without versions of entries, and without compare-and-set.
    V1,
    /// With versions of entries.
    V2,
}

/// Settings of Vault's transit engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultTransit {
    /// The engine's mount.
    pub engine: String,
    /// The key's name.
    pub key: String,
}

section! {
    /// The Vault store; see [`VaultKeystore`].
    struct VaultSection<'a> {
        endpoint: Setting<'a>,
        engine: Setting<'a> = "kv",
        version: Setting<'a> = "v1",
        namespace: Setting<'a>,
        prefix: Setting<'a>,
        transit: TransitSection<'a>,
        approle: AppRoleSection<'a>,
        kubernetes: KubernetesSection<'a>,
        tls: VaultTlsSection<'a>,
        status: StatusSection<'a>,
    }

    /// The second layer of encryption; an empty key is none.
    struct TransitSection<'a> {
        engine: Setting<'a> = "transit",
        key: Setting<'a>,
    }

    /// The client certificate towards Vault, and trust anchors for Vault's.
    struct VaultTlsSection<'a> {
        key: Setting<'a>,
        cert: Setting<'a>,
        ca: Setting<'a>,
    }

    /// The checks of Vault's health.
    struct StatusSection<'a> {
        /// Their interval.
        ping: Setting<'a> = "10s",
    }
}

/// Reads the section `keystore.vault`.
pub(crate) fn read(vault: &VaultSection<'_>, findings: &mut Findings) -> Option<VaultKeystore> {
    let store = read_fields!(findings => VaultKeystore {
        endpoint: endpoint(&vault.endpoint),
        engine: mount(&vault.engine),
        version: version(&vault.version),
        namespace: optional(&vault.namespace),
        prefix: mount(&vault.prefix),
        transit: transit(&vault.transit, findings),
        login: login::read(vault, namespace.clone().flatten(), findings),
        client: client(&vault.tls, findings),
        ca: variables::anchors(vault, findings),
        ping: ping(&vault.status.ping),
    })?;
    warn_of_plain_http(&vault.endpoint, &store, findings);
    Some(store)
}

fn endpoint(place: &Cursor<'_>) -> Result<String, Fault> {
    let text = place.required("Vault's URL, like https://127.0.0.1:8200")?;
    let url = endpoint::read(&text, endpoint::Scheme::Wanted)?;
    // The address that programs show for Vault can have a path that requests must not have.
    let mut path = url.split('/').skip(3).map(str::to_ascii_lowercase);
    if let Some(segment) = path.find(|segment| ["v1", "ui"].contains(&segment.as_str())) {
        return Err(text.invalid(format!(
            "has `/{segment}` in its path, which is not a part of Vault's address: every request \
             adds its own path; leave out `/{segment}` and what follows"
        )));
    }
    Ok(url)
}

/// Warns if the credentials of the login, and keys, are sent without TLS to another machine.
fn warn_of_plain_http(place: &Cursor<'_>, store: &VaultKeystore, findings: &mut Findings) {
    let secret = match store.login.credentials {
        VaultCredentials::AppRole { .. } => "approle.secret",
        VaultCredentials::Kubernetes { .. } => "kubernetes.jwt",
    };
    if endpoint::is_exposed(&store.endpoint) {
        findings.warn(place.fault(format!(
            "is plain HTTP to another machine: `keystore.vault.{secret}`, the token and every key \
             can be read on the way; write https://, and the CA of Vault's certificate in \
             `keystore.vault.tls.ca` unless the system trusts it"
        )));
    }
}

fn version(place: &Cursor<'_>) -> Result<KvVersion, Fault> {
    let text = place.text()?;
    match text.as_str() {
        "v1" => Ok(KvVersion::V1),
        "v2" => Ok(KvVersion::V2),
        _ => Err(text.invalid("is no K/V version; it wants v1 or v2")),
    }
}

/// Reads the section `transit`. An empty key in the file, as in reference files, means
/// no section; an environment variable that is empty is a mistake that would leave the keys
/// without their second layer.
fn transit(
    transit: &TransitSection<'_>,
    findings: &mut Findings,
) -> Result<Option<VaultTransit>, Fault> {
    let engine = findings.keep(mount(&transit.engine));
    let key = transit.key.text()?;
    if key.is_empty() && !key.is_replaced() {
        return Ok(None);
    }
    let key = key.or_missing("the name of the transit key")?.as_str().to_owned();
    Ok(Some(VaultTransit { engine: engine.ok_or_else(Fault::known)?, key }))
}

fn client(
    tls: &VaultTlsSection<'_>,
    findings: &mut Findings,
) -> Result<Option<ClientIdentity>, Fault> {
    let [key, cert] = [&tls.key, &tls.cert].map(|place| findings.keep(place.text()));
    if [&key, &cert].into_iter().all(|text| text.as_ref().is_some_and(Text::is_empty)) {
        return Ok(None);
    }
    let key = key.map(|it| it.or_missing("the file of the private key that goes with `cert`"));
    let cert = cert.map(|it| it.or_missing("the file of the certificate that goes with `key`"));
    let files = Files {
        key: key.and_then(|key| findings.keep(key)),
        password: Password::Unsupported,
        cert: cert.and_then(|cert| findings.keep(cert)),
        is_of_server: false,
    };
    certificate::identity(&files, findings).map(Some).ok_or_else(Fault::known)
}

fn ping(place: &Cursor<'_>) -> Result<Duration, Fault> {
    let ping = cache::duration(place)?;
    // As in Go's configuration structs, zero means absent.
    Ok(if ping.is_zero() { Duration::from_secs(10) } else { ping })
}

fn optional(place: &Cursor<'_>) -> Result<Option<String>, Fault> {
    let text = place.text()?;
    Ok(if text.is_empty() { None } else { Some(text.as_str().to_owned()) })
}

/// Reads a mount or a folder, without slashes around it.
fn mount(place: &Cursor<'_>) -> Result<String, Fault> {
    Ok(place.text()?.as_str().trim_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::findings;
    use crate::section::Shape as _;

    fn vault(text: &str) -> Result<VaultKeystore, String> {
        let variables = [("EMPTY", ""), ("TOKEN", "hunter2")];
        let environment: BTreeMap<_, _> =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        findings::of_section(text, VaultSection::SCHEMA, &environment, |place, found| {
            read(&VaultSection::at(place), found)
        })
    }

    const LEAST: &str = "endpoint: https://127.0.0.1:8200/\napprole: { id: a, secret: b }\n";

    #[test]
    fn every_field_has_its_default() {
        let least = vault(LEAST).unwrap();
        assert_eq!(least.endpoint, "https://127.0.0.1:8200");
        assert_eq!((least.engine.as_str(), least.version), ("kv", KvVersion::V1));
        assert_eq!((least.namespace, least.prefix.as_str()), (None, ""));
        assert_eq!((least.transit, least.ca), (None, None));
        assert!(least.client.is_none());
        assert_eq!(least.ping, Duration::from_secs(10));
        assert_eq!((least.login.engine.as_str(), least.login.namespace), ("approle", None));
    }

    #[test]
    fn every_field_is_read() {
        let full = vault(
            "endpoint: HTTP://vault:8200\nengine: /secret/\nversion: v2\nnamespace: ns1\n\
             prefix: 0123\ntransit: { engine: tr, key: my-key }\n\
             kubernetes: { engine: k8s, role: kes, jwt: /var/run/token }\nstatus: { ping: 1m }\n",
        )
        .unwrap();
        assert_eq!(full.endpoint, "http://vault:8200");
        assert_eq!((full.engine.as_str(), full.version), ("secret", KvVersion::V2));
        assert_eq!((full.namespace.as_deref(), full.prefix.as_str()), (Some("ns1"), "0123"));
        let transit = VaultTransit { engine: "tr".to_owned(), key: "my-key".to_owned() };
        assert_eq!(full.transit, Some(transit));
        assert_eq!(full.ping, Duration::from_mins(1));
        assert_eq!(full.login.engine, "k8s");
        let VaultCredentials::Kubernetes { role, jwt: VaultJwt::File(path) } =
            full.login.credentials
        else {
            panic!("not a login with a token's file");
        };
        assert_eq!((role.as_str(), path), ("kes", PathBuf::from("/var/run/token")));
    }

    #[test]
    fn a_login_is_in_the_stores_namespace_unless_it_says_otherwise() {
        for (own, want) in [("\"\"", Some("ns1")), ("/", None), ("ns2", Some("ns2"))] {
            let approle = format!("approle: {{ namespace: {own}, id: a, secret: b }}");
            let vault = vault(&format!("endpoint: https://v\nnamespace: ns1\n{approle}")).unwrap();
            assert_eq!(vault.login.namespace.as_deref(), want);
            assert_eq!(vault.namespace.as_deref(), Some("ns1"));
        }
    }

    #[test]
    fn sections_that_are_empty_throughout_are_as_good_as_none() {
        let vault = vault(&format!(
            "{LEAST}kubernetes: {{ engine: kubernetes, role: \"\", jwt: \"\" }}\n\
             transit: {{ engine: transit, key: \"\" }}\ntls: {{ key: \"\", cert: \"\" }}\n\
             status: {{ ping: 0s }}\n"
        ))
        .unwrap();
        assert!(matches!(vault.login.credentials, VaultCredentials::AppRole { .. }));
        assert!(vault.transit.is_none() && vault.client.is_none());
        assert_eq!(vault.ping, Duration::from_secs(10));
    }

    #[test]
    fn secrets_are_mute() {
        let text = "endpoint: https://v\napprole: { id: '${TOKEN}', secret: hunter2 }";
        assert!(!format!("{:?}", vault(text).unwrap()).contains("hunter2"));
        let text = "endpoint: https://v\nkubernetes: { role: r, jwt: hunter2 }";
        assert!(!format!("{:?}", vault(text).unwrap()).contains("hunter2"));
    }

    #[test]
    fn mistakes_are_refused() {
        for (text, words) in [
            (
                "approle: { id: a, secret: b }",
                "endpoint: is missing; it wants Vault's URL, like https://127.0.0.1:8200",
            ),
            (
                "endpoint: 127.0.0.1:8200\napprole: { id: a, secret: b }",
                "endpoint: '127.0.0.1:8200' is no URL; it wants http:// or https:// in front, like \
                 https://127.0.0.1:8200",
            ),
            ("endpoint: https://v", ": has no login; one of approle, kubernetes is wanted"),
            (
                "endpoint: https://v\napprole: { id: a, secret: b }\nkubernetes: { role: r }",
                ": has approle and kubernetes; one login is wanted",
            ),
            (
                "endpoint: https://v\napprole: { id: a }",
                "approle.secret: is missing; it wants the secret's id",
            ),
            (
                "endpoint: https://v\napprole: { id: '${EMPTY}', secret: '${EMPTY}' }",
                "approle.id: the environment variable `EMPTY` is empty; it wants the role's id\n\
                 approle.secret: the environment variable `EMPTY` is empty; it wants the secret's id",
            ),
            (
                "endpoint: https://v\nversion: 2\napprole: { id: a, secret: b }",
                "version: '2' is no K/V version; it wants v1 or v2",
            ),
            (
                "endpoint: https://v\napprole: { id: a, secret: b }\ntransit: { key: '${EMPTY}' }",
                "transit.key: the environment variable `EMPTY` is empty; it wants the name of the \
                 transit key",
            ),
            (
                "endpoint: https://v\napprole: { id: a, secret: b }\ntls: { cert: tests/pem/p256.cert }",
                "tls.key: is missing; it wants the file of the private key that goes with `cert`",
            ),
            (
                "endpoint: https://v\napprole: { id: a, secret: b }\nstatus: { ping: -1s }",
                "status.ping: '-1s' is negative; it wants 0s or more",
            ),
        ] {
            assert_eq!(vault(text).unwrap_err(), words, "{text}");
        }
    }
}
