//! Reads the URLs of key stores.

use url::{Host, Url};

use crate::cursor::Text;
use crate::error::Fault;

/// Specifies whether an endpoint must have a scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Wanted,
    /// Without one it is `https://`.
    Optional,
}

/// Reads an endpoint: `http://` or `https://`, host, optional port and path; comes back without a
/// last slash.
pub(crate) fn read(text: &Text<'_>, scheme: Scheme) -> Result<String, Fault> {
    if has_user_info(text.as_str()) {
        // It may be a password, and is not shown.
        return Err(text.fault(
            "has a user name or a password in front of its `@`, which is not used; leave it out",
        ));
    }
    let refuse = |wanted: &str| text.invalid(format!("is no URL; it wants {wanted}"));
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
    let authority = rest.split('/').next().unwrap_or_default();
    if !is_authority(authority) {
        return Err(refuse(
            "a host name or an IP address, and a port where it is not the usual one",
        ));
    }
    // RFC 3986: pchar and slashes; the host is checked.
    let is_path_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/[]".contains(&byte);
    if !rest.bytes().all(is_path_byte) {
        return Err(refuse("no blanks, queries, fragments or placeholders"));
    }
    Ok(format!("{scheme}://{rest}"))
}

/// Returns whether an endpoint is plain HTTP to another machine: requests and responses can be
/// read and changed on the way. This machine is 127.0.0.0/8, `::1` and `localhost`.
pub(crate) fn is_exposed(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let is_this_machine = match url.host() {
        Some(Host::Domain(name)) => name.strip_suffix('.').unwrap_or(name) == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.to_canonical().is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !is_this_machine
}

/// Returns whether the authority of a URL has an `@`.
fn has_user_info(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().is_some_and(|authority| authority.contains('@'))
}

/// Returns whether a text is `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
fn is_authority(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    text.bytes().all(is_plain)
        && !text.ends_with(':')
        && Url::parse(&format!("https://{text}")).is_ok_and(|url| url.port() != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_to_another_machine_is_exposed() {
        for exposed in [
            "http://vault:8200",
            "http://10.0.0.1/v",
            "http://[fd00::1]:8200",
            "http://[::]:8200",
            "http://0.0.0.0",
            "http://128.0.0.1",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com:8200/localhost",
            "http://vault/http://127.0.0.1",
            "HTTP://vault",
        ] {
            assert!(is_exposed(exposed), "{exposed}");
        }
        for safe in [
            "https://vault:8200",
            "http://localhost",
            "http://LocalHost.:8200/v",
            "http://127.0.0.1:8200",
            "http://127.255.255.254",
            "http://[::1]:8200/v",
            "http://[::ffff:127.0.0.1]",
            "https://10.0.0.1/http://vault",
        ] {
            assert!(!is_exposed(safe), "{safe}");
        }
    }

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for good in ["a", "a.b-c_d", "127.0.0.1:8200", "[::1]", "[fd00:ec2::1]:443", "a:65535"] {
            assert!(is_authority(good), "{good}");
        }
        for bad in [
            "", ":1", "a:", "a:0", "a:65536", "a:b", "a:+1", "a:b:c", "::1", "[::1", "::1]",
            "[::1]1", "[a]", "[::1]:", "a]b", "a b",
        ] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
