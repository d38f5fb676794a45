//! The Vault store's settings.

use std::path::PathBuf;
use std::time::Duration;

use kes_types::Secret;

use crate::cache;
use crate::certificate::{self, ClientIdentity};
use crate::cursor::{Cursor, Text};
use crate::endpoint;
use crate::error::{Fault, Warnings};

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
    /// How to log in.
    pub login: VaultLogin,
    /// The client certificate towards Vault, if there is one.
    pub client: Option<ClientIdentity>,
    /// Trust anchors for Vault's certificate, DER; none trusts the system's.
    pub ca: Option<Vec<Vec<u8>>>,
    /// How often Vault's health is looked at.
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

/// How to log in to Vault.
#[derive(Clone, Debug)]
pub struct VaultLogin {
    /// The namespace of the login; none sends no namespace.
    pub namespace: Option<String>,
    /// The mount of the authentication method.
    pub engine: String,
    /// With what.
    pub credentials: VaultCredentials,
}

/// What to log in to Vault with.
#[derive(Clone, Debug)]
pub enum VaultCredentials {
    /// The method `approle`.
    AppRole {
        /// The role's id.
        id: Secret,
        /// The secret's id.
        secret: Secret,
    },
    /// The method `kubernetes`.
    Kubernetes {
        /// The role's name.
        role: String,
        /// The service account's token.
        jwt: VaultJwt,
    },
}

/// A service account's token.
#[derive(Clone, Debug)]
pub enum VaultJwt {
    /// In a file that is read at every login, since Kubernetes replaces it.
    File(PathBuf),
    /// As it is.
    Token(Secret),
}

/// Reads the section `keystore.vault`.
pub(crate) fn read(vault: &Cursor<'_>, warnings: &mut Warnings) -> Result<VaultKeystore, Fault> {
    let endpoint = vault.field("endpoint").required("Vault's URL, like https://127.0.0.1:8200")?;
    let namespace = optional(&vault.field("namespace").text()?);
    let tls = vault.field("tls");
    let ping = vault.field("status").field("ping");
    Ok(VaultKeystore {
        endpoint: endpoint::read(&endpoint, endpoint::Scheme::Wanted)?,
        engine: mount(&vault.field("engine").text()?, "kv"),
        version: version(&vault.field("version").text()?)?,
        prefix: mount(&vault.field("prefix").text()?, ""),
        transit: transit(&vault.field("transit"))?,
        login: login(vault, namespace.as_deref())?,
        client: client(&tls, warnings)?,
        ca: certificate::anchors(&tls.field("ca").text()?)?,
        // As in Go's configuration structs, zero is as good as absent.
        ping: cache::duration(&ping.text()?)?
            .filter(|ping| !ping.is_zero())
            .unwrap_or(Duration::from_secs(10)),
        namespace,
    })
}

fn version(text: &Text<'_>) -> Result<KvVersion, Fault> {
    match text.as_str() {
        "" | "v1" => Ok(KvVersion::V1),
        "v2" => Ok(KvVersion::V2),
        _ => Err(text.fault(format!("{} is no K/V version; it wants v1 or v2", text.shown()))),
    }
}

/// Reads the transit section. An empty key written in the file, as reference files have it, is as
/// good as no section; one that the environment left empty is a mistake that would leave the keys
/// without their second layer.
fn transit(transit: &Cursor<'_>) -> Result<Option<VaultTransit>, Fault> {
    let key = transit.field("key").text()?;
    if key.is_empty() && !key.is_from_environment() {
        return Ok(None);
    }
    if key.is_empty() {
        return Err(key.missing("the name of the transit key"));
    }
    let engine = mount(&transit.field("engine").text()?, "transit");
    Ok(Some(VaultTransit { engine, key: key.as_str().to_owned() }))
}

/// Reads the login. A section that is empty throughout, as reference files have it, is as good as
/// none.
fn login(vault: &Cursor<'_>, namespace: Option<&str>) -> Result<VaultLogin, Fault> {
    let (approle, kubernetes) = (vault.field("approle"), vault.field("kubernetes"));
    match (is_used(&approle, ["id", "secret"])?, is_used(&kubernetes, ["role", "jwt"])?) {
        (true, true) => Err(vault.fault("has approle and kubernetes; one login is wanted")),
        (false, false) => Err(vault.fault("has no login; one of approle, kubernetes is wanted")),
        (true, false) => {
            let credentials = VaultCredentials::AppRole {
                id: approle.field("id").required("the role's id")?.secret(),
                secret: approle.field("secret").required("the secret's id")?.secret(),
            };
            login_with(&approle, "approle", namespace, credentials)
        }
        (false, true) => {
            let role = kubernetes.field("role").required("the role's name")?;
            let jwt = kubernetes.field("jwt").required("a token, or the path of its file")?;
            let credentials = VaultCredentials::Kubernetes {
                role: role.as_str().to_owned(),
                jwt: if jwt.as_str().contains('/') {
                    VaultJwt::File(PathBuf::from(jwt.as_str()))
                } else {
                    VaultJwt::Token(jwt.secret())
                },
            };
            login_with(&kubernetes, "kubernetes", namespace, credentials)
        }
    }
}

fn login_with(
    method: &Cursor<'_>,
    default_engine: &str,
    store_namespace: Option<&str>,
    credentials: VaultCredentials,
) -> Result<VaultLogin, Fault> {
    let namespace = method.field("namespace").text()?;
    let namespace = match namespace.as_str() {
        "" => store_namespace.map(str::to_owned),
        "/" => None,
        namespace => Some(namespace.to_owned()),
    };
    let engine = mount(&method.field("engine").text()?, default_engine);
    Ok(VaultLogin { namespace, engine, credentials })
}

/// Whether one of the fields has a text, or was to get one from the environment.
fn is_used(method: &Cursor<'_>, fields: [&str; 2]) -> Result<bool, Fault> {
    for field in fields {
        let text = method.field(field).text()?;
        if !text.is_empty() || text.is_from_environment() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn client(tls: &Cursor<'_>, warnings: &mut Warnings) -> Result<Option<ClientIdentity>, Fault> {
    let (key, cert) = (tls.field("key").text()?, tls.field("cert").text()?);
    if key.is_empty() && cert.is_empty() {
        return Ok(None);
    }
    if key.is_empty() {
        return Err(key.missing("the file of the private key that goes with `cert`"));
    }
    if cert.is_empty() {
        return Err(cert.missing("the file of the certificate that goes with `key`"));
    }
    certificate::client_identity(&key, &cert, warnings).map(Some)
}

fn optional(text: &Text<'_>) -> Option<String> {
    if text.is_empty() { None } else { Some(text.as_str().to_owned()) }
}

/// A mount or a folder, without slashes around it.
fn mount(text: &Text<'_>, default: &str) -> String {
    text.or(default).trim_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{schema, yaml};

    fn vault(text: &str) -> Result<VaultKeystore, String> {
        let variables = [("EMPTY", ""), ("TOKEN", "hunter2")];
        let environment: BTreeMap<_, _> =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let value = yaml::parse_as(text, &schema::VAULT).map_err(|fault| fault.message)?;
        read(&Cursor::root(&value, &environment), &mut Warnings::default())
            .map_err(|fault| format!("{}: {}", fault.path, fault.message))
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
                "engine: kv",
                "endpoint: is missing; it wants Vault's URL, like https://127.0.0.1:8200",
            ),
            (
                "endpoint: 127.0.0.1:8200",
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
                "approle.id: the environment variable `EMPTY` is empty; it wants the role's id",
            ),
            (
                "endpoint: https://v\nversion: 2\napprole: { id: a, secret: b }",
                "version: '2' is no K/V version; it wants v1 or v2",
            ),
            (
                "endpoint: https://v\ntransit: { key: '${EMPTY}' }",
                "transit.key: the environment variable `EMPTY` is empty; it wants the name of the \
                 transit key",
            ),
            (
                "endpoint: https://v\napprole: { id: a, secret: b }\ntls: { cert: ./c }",
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
