//! Reads the login of the Vault store: the section `approle` or `kubernetes`.

use std::path::PathBuf;

use kes_types::Secret;

use super::{VaultSection, mount};
use crate::cursor::{Cursor, Text};
use crate::findings::Findings;
use crate::schema::Schema;
use crate::section::{SecretText, Setting, section};

/// The login to Vault.
#[derive(Clone, Debug)]
pub struct VaultLogin {
    /// The namespace of the login; none sends no namespace.
    pub namespace: Option<String>,
    /// The mount of the authentication method.
    pub engine: String,
    /// The credentials of the login.
    pub credentials: VaultCredentials,
}

/// The credentials of a login to Vault.
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
    /// The token itself.
    Token(Secret),
}

section! {
    /// The login with the method `approle`.
    struct AppRoleSection<'a> {
        /// Empty is the namespace of the store, `/` the root namespace.
        namespace: Setting<'a>,
        engine: Setting<'a> = "approle",
        id: SecretText<'a>,
        secret: SecretText<'a>,
    }
    unread { "retry": Schema::NoEffect }

    /// The login with the method `kubernetes`.
    struct KubernetesSection<'a> {
        /// Empty is the namespace of the store, `/` the root namespace.
        namespace: Setting<'a>,
        engine: Setting<'a> = "kubernetes",
        role: Setting<'a>,
        /// A token, or the path of its file.
        jwt: Setting<'a>,
    }
    unread { "retry": Schema::NoEffect }
}

/// Reads the login. A section with empty texts only, as in reference files, counts as
/// absent.
pub(super) fn read(
    vault: &VaultSection<'_>,
    namespace: Option<String>,
    findings: &mut Findings,
) -> Option<VaultLogin> {
    let (approle, kubernetes) = (&vault.approle, &vault.kubernetes);
    // Each is read once: it may be a file that can be read only once.
    let [id, secret] = [&approle.id, &approle.secret].map(|place| findings.keep(place.text()));
    let [role, jwt] = [&kubernetes.role, &kubernetes.jwt].map(|place| findings.keep(place.text()));
    let is_any_faulty = [&id, &secret, &role, &jwt].into_iter().any(Option::is_none);
    let is_used = |fields: [&Option<Text<'_>>; 2]| {
        fields.into_iter().any(|field| Text::is_used(field.as_ref()))
    };
    match (is_used([&id, &secret]), is_used([&role, &jwt])) {
        (true, true) if is_any_faulty => None,
        (true, true) => {
            findings.keep(Err(vault.fault("has approle and kubernetes; one login is wanted")))
        }
        (false, false) => {
            findings.keep(Err(vault.fault("has no login; one of approle, kubernetes is wanted")))
        }
        (true, false) => {
            let method = method(&approle.engine, &approle.namespace, namespace, findings);
            let id = findings.keep(id?.or_missing("the role's id"));
            let secret = findings.keep(secret?.or_missing("the secret's id"));
            let (namespace, engine) = method?;
            let credentials =
                VaultCredentials::AppRole { id: id?.secret(), secret: secret?.secret() };
            Some(VaultLogin { namespace, engine, credentials })
        }
        (false, true) => {
            let method = method(&kubernetes.engine, &kubernetes.namespace, namespace, findings);
            let role = findings.keep(role?.or_missing("the role's name"));
            let jwt = findings.keep(jwt?.or_missing("a token, or the path of its file"));
            let (namespace, engine) = method?;
            let (role, jwt) = (role?.as_str().to_owned(), token(&jwt?));
            let credentials = VaultCredentials::Kubernetes { role, jwt };
            Some(VaultLogin { namespace, engine, credentials })
        }
    }
}

/// Reads the namespace and the mount of a login.
fn method(
    engine: &Cursor<'_>,
    namespace: &Cursor<'_>,
    store_namespace: Option<String>,
    findings: &mut Findings,
) -> Option<(Option<String>, String)> {
    let engine = findings.keep(mount(engine));
    let namespace = findings.keep(namespace.text())?;
    let namespace = match namespace.as_str() {
        "" => store_namespace,
        "/" => None,
        namespace => Some(namespace.to_owned()),
    };
    Some((namespace, engine?))
}

fn token(jwt: &Text<'_>) -> VaultJwt {
    if jwt.as_str().contains('/') {
        VaultJwt::File(PathBuf::from(jwt.as_str()))
    } else {
        VaultJwt::Token(jwt.secret())
    }
}
