//! Reads the section `tls`: the server's certificate and the client certificates that it trusts.

use std::collections::BTreeSet;

use kes_crypto::pem::PrivateKey;
use kes_types::Identity;

use crate::certificate::{self, Files, Password};
use crate::cursor::Cursor;
use crate::error::Fault;
use crate::findings::{Findings, read_fields};
use crate::policies::{self, Roles};
use crate::schema::Schema;
use crate::section::{IdentityText, List, SecretText, Setting, section};

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
    /// Any certificate is accepted: the handshake proves that the client has its private key.
    Off,
    /// The chain must lead to a trust anchor.
    On,
}

/// TLS proxies that forward their clients' certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The identities of the proxies; neither the admin nor in a policy.
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

section! {
    /// TLS settings; see [`Tls`].
    struct TlsSection<'a> {
        /// The PEM file of the private key.
        key: Setting<'a>,
        /// The PEM file of the certificates.
        cert: Setting<'a>,
        /// The password of the private key, when it is encrypted.
        password: SecretText<'a>,
        /// Whether the chains of client certificates are checked.
        auth: Setting<'a> = "off",
        /// A PEM file, or a folder of them, with trust anchors for client certificates.
        ca: Setting<'a>,
        proxy: ProxySection<'a>,
    }
    unread {
        "identities": Schema::Refused(PROXY_ELSEWHERE),
        "header": Schema::Refused(PROXY_ELSEWHERE),
    }

    /// TLS proxies; see [`Proxy`].
    struct ProxySection<'a> {
        identities: List<'a, IdentityText<'a>>,
        header: HeaderSection<'a>,
    }

    /// The headers of TLS proxies.
    struct HeaderSection<'a> {
        /// The one that has the certificate.
        cert: Setting<'a> = "X-Tls-Client-Cert",
    }
}

/// The message for settings of TLS proxies in other places.
pub(crate) const PROXY_ELSEWHERE: &str = "has no effect here; TLS proxies are listed in `tls.proxy.identities`, and their header is \
     `tls.proxy.header.cert`";

/// Reads the section `tls` and the files that it names.
pub(crate) fn read(tls: &TlsSection<'_>, roles: &Roles, findings: &mut Findings) -> Option<Tls> {
    let key = tls.key.required("the PEM file of the server's private key");
    let cert = tls.cert.required("the PEM file of the server's certificate");
    let password = findings.keep(tls.password.text());
    let files = Files {
        key: findings.keep(key),
        password: password.map_or(Password::Faulty, Password::Given),
        cert: findings.keep(cert),
        is_of_server: true,
    };
    let identity = certificate::identity(&files, findings);
    let (key, chain) = identity.map(|it| (it.key, it.chain)).unzip();
    read_fields!(findings => Tls {
        key: key,
        chain: chain,
        auth: client_auth(&tls.auth),
        proxy: proxy(&tls.proxy, roles, findings),
        ca: tls.ca.text().and_then(|ca| certificate::anchors(&ca, findings)),
    })
}

fn client_auth(place: &Cursor<'_>) -> Result<ClientAuth, Fault> {
    let text = place.text()?;
    match text.as_str().to_ascii_lowercase().as_str() {
        "off" => Ok(ClientAuth::Off),
        "on" => Ok(ClientAuth::On),
        "true" => Err(text.fault("is a switch; write `on` instead of `true`")),
        "false" => Err(text.fault("is a switch; write `off` instead of `false`")),
        _ => Err(text.invalid("is neither on nor off")),
    }
}

fn proxy(proxy: &ProxySection<'_>, roles: &Roles, findings: &mut Findings) -> Option<Proxy> {
    let mut identities = BTreeSet::new();
    for item in proxy.identities.items() {
        let Some(identity) = policies::identity(&item, findings) else { continue };
        if let Some(role) = roles.role(&identity) {
            findings.fault(
                item.fault(format!(
                    "{role}; a proxy acts for others, and has no rights of its own"
                )),
            );
        }
        identities.insert(identity);
    }
    let header = findings.keep(header(&proxy.header.cert))?;
    Some(Proxy { identities, header })
}

fn header(place: &Cursor<'_>) -> Result<String, Fault> {
    let header = place.text()?;
    if !header.as_str().bytes().all(is_field_name_byte) {
        return Err(header.invalid(
            "is no HTTP header name; it wants one like X-Tls-Client-Cert, without colon or blank",
        ));
    }
    Ok(header.as_str().to_owned())
}

/// Returns whether a byte is valid in an HTTP field name: `tchar` of RFC 9110.
fn is_field_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
