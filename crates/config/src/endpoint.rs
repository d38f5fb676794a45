//! URLs of other people's servers.

use crate::cursor::Text;
use crate::error::Fault;

/// Whether an endpoint wants its scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Wanted,
    /// Without one it is `https://`.
    Optional,
}

/// Reads an endpoint: `http://` or `https://`, host, optional port and path; comes back without a
/// last slash.
pub(crate) fn read(text: &Text<'_>, scheme: Scheme) -> Result<String, Fault> {
    let refuse =
        |wanted: &str| text.fault(format!("{} is no URL; it wants {wanted}", text.shown()));
    let (scheme, rest) = match (text.as_str().split_once("://"), scheme) {
        (Some(parts), _) => parts,
        (None, Scheme::Optional) => ("https", text.as_str()),
        (None, Scheme::Wanted) => {
            return Err(refuse("http:// or https:// in front, like https://127.0.0.1:8200"));
        }
    };
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err(refuse("http:// or https:// in front"));
    }
    let rest = rest.trim_end_matches('/');
    let host = rest.split('/').next().unwrap_or_default();
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    if host.is_empty() || host.starts_with(':') || !host.bytes().all(is_host_byte) {
        return Err(refuse(
            "a host name or an IP address, and a port where it is not the usual one",
        ));
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte)) {
        return Err(refuse("no blanks, queries or fragments"));
    }
    Ok(format!("{scheme}://{rest}"))
}
