//! The server's certificate, and whom it believes.

use std::collections::BTreeSet;

use kes_crypto::pem::PrivateKey;
use kes_types::Identity;

use crate::certificate;
use crate::cursor::{Cursor, Text};
use crate::error::{Fault, Warnings};
use crate::policies::{self, Roles};

/// TLS settings.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's private key.
    pub key: PrivateKey,
    /// The server's certificates in DER, its own first; that has a DNS name or an IP address.
    pub chain: Vec<Vec<u8>>,
    /// Whether the chains of client certificates are checked.
    pub auth: ClientAuth,
    /// Trust anchors for client certificates, DER; none trusts the system's.
    pub ca: Option<Vec<Vec<u8>>>,
    /// TLS proxies in front of the server.
    pub proxy: Proxy,
}

/// Whether the chains of client certificates are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Any certificate will do: possession of its private key is the proof.
    Off,
    /// The chain must lead to a trust anchor.
    On,
}

/// TLS proxies that forward their clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Who may forward; neither the admin nor in a policy.
    pub identities: BTreeSet<Identity>,
    /// The name of the header with the certificate; a valid HTTP field name.
    pub header: String,
}

impl Default for Proxy {
    /// No proxies.
    fn default() -> Self {
        Self { identities: BTreeSet::new(), header: "X-Tls-Client-Cert".to_owned() }
    }
}

/// Reads the section `tls` and the files that it names.
pub(crate) fn read(tls: &Cursor<'_>, roles: &Roles, warnings: &mut Warnings) -> Result<Tls, Fault> {
    let key = tls.field("key").required("the PEM file of the server's private key")?;
    let cert = tls.field("cert").required("the PEM file of the server's certificate")?;
    let auth = client_auth(&tls.field("auth").text()?)?;
    let proxy = proxy(&tls.field("proxy"), roles, warnings)?;
    let password = tls.field("password").text()?;
    let key = certificate::private_key(&key, Some(&password), warnings)?;
    let chain = certificate::chain(&cert, &key)?;
    certificate::check_server_names(&cert, &chain)?;
    let ca = certificate::anchors(&tls.field("ca").text()?)?;
    Ok(Tls { key, chain, auth, ca, proxy })
}

fn client_auth(text: &Text<'_>) -> Result<ClientAuth, Fault> {
    match text.as_str().to_ascii_lowercase().as_str() {
        "" | "off" => Ok(ClientAuth::Off),
        "on" => Ok(ClientAuth::On),
        "true" => Err(text.fault("is a switch; write `on` instead of `true`")),
        "false" => Err(text.fault("is a switch; write `off` instead of `false`")),
        _ => Err(text.fault(format!("{} is neither on nor off", text.shown()))),
    }
}

fn proxy(proxy: &Cursor<'_>, roles: &Roles, warnings: &mut Warnings) -> Result<Proxy, Fault> {
    let mut identities = BTreeSet::new();
    for item in proxy.field("identities").items() {
        let Some(identity) = policies::identity(&item.text()?, warnings) else { continue };
        if let Some(role) = roles.role(&identity) {
            return Err(item
                .fault(format!("{role}; a proxy acts for others, and has no rights of its own")));
        }
        identities.insert(identity);
    }
    let header = proxy.field("header").field("cert").text()?;
    if !header.as_str().bytes().all(is_field_name_byte) {
        return Err(header.fault(format!(
            "{} is no HTTP header name; it wants one like X-Tls-Client-Cert, without colon or blank",
            header.shown()
        )));
    }
    Ok(Proxy { identities, header: header.or(&Proxy::default().header) })
}

/// Whether a byte may stand in an HTTP field name: `tchar` of RFC 9110.
fn is_field_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
