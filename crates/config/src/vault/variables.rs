//! Reads the environment variables of Vault's own programs, and warns of those without effect.

use super::VaultSection;
use crate::certificate;
use crate::cursor::{Cursor, Text};
use crate::error::Fault;
use crate::findings::Findings;

/// Variables that have no effect, and what has the effect instead.
const WITHOUT_EFFECT: [(&str, &str); 22] = [
    ("ADDR", "write `keystore.vault.endpoint`"),
    ("AGENT_ADDR", "write `keystore.vault.endpoint`"),
    ("CACERT_BYTES", "write `keystore.vault.tls.ca`"),
    ("CLIENT_CERT", "write `keystore.vault.tls.cert`"),
    ("CLIENT_KEY", "write `keystore.vault.tls.key`"),
    ("CLIENT_TIMEOUT", ""),
    ("DISABLE_REDIRECTS", ""),
    ("HEADERS", ""),
    ("HTTP_PROXY", "a proxy is taken from `HTTPS_PROXY` or `HTTP_PROXY`"),
    ("MAX_RETRIES", ""),
    ("MFA", ""),
    ("NAMESPACE", "write `keystore.vault.namespace`"),
    ("PROXY_ADDR", "a proxy is taken from `HTTPS_PROXY` or `HTTP_PROXY`"),
    ("RATE_LIMIT", ""),
    ("REDIRECT_ADDR", ""),
    ("RETRY_WAIT_MAX", ""),
    ("RETRY_WAIT_MIN", ""),
    ("SKIP_VERIFY", "write `keystore.vault.tls.ca`, Vault's certificate is always verified"),
    ("SRV_LOOKUP", ""),
    ("TLS_SERVER_NAME", "the name is that of `keystore.vault.endpoint`"),
    ("TOKEN", "the login is `keystore.vault.approle` or `kubernetes`"),
    ("WRAP_TTL", ""),
];

/// Reads the trust anchors: of `tls.ca`, or else of the variables that Vault's programs take them
/// from. Warns of the variables that have no effect.
pub(crate) fn anchors(
    vault: &VaultSection<'_>,
    findings: &mut Findings,
) -> Result<Option<Vec<Vec<u8>>>, Fault> {
    let place = &vault.tls.ca;
    let mut source: Option<Text<'_>> = findings.keep(place.text());
    let mut is_found = source.as_ref().is_none_or(|text| !text.is_empty());
    for name in ["VAULT_CACERT", "VAULT_CAPATH"] {
        if is_found {
            warn(vault, name, "`keystore.vault.tls.ca` or `VAULT_CACERT` counts", findings);
        } else if let Some(Some(text)) = findings.keep(place.variable(name)) {
            source = Some(text);
            is_found = true;
        }
    }
    for (name, instead) in WITHOUT_EFFECT {
        warn(vault, &format!("VAULT_{name}"), instead, findings);
        warn(vault, &format!("BAO_{name}"), instead, findings);
    }
    for name in ["BAO_CACERT", "BAO_CAPATH"] {
        warn(vault, name, "write `keystore.vault.tls.ca`", findings);
    }
    certificate::anchors(&source.ok_or_else(Fault::known)?, findings)
}

/// Warns of a variable that is set, unless the file names it.
fn warn(vault: &Cursor<'_>, name: &str, instead: &str, findings: &mut Findings) {
    if vault.is_set(name) && !vault.names_variable(name) {
        let separator = if instead.is_empty() { "" } else { "; " };
        let message = format!(
            "the environment variable `{name}` is set and has no effect{separator}{instead}"
        );
        findings.warn(vault.fault(message));
    }
}
