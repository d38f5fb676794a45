//! URLs of other people's servers.

use std::net::{IpAddr, Ipv6Addr};

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
    if has_user_info(text.as_str()) {
        // It may be a password, and is not shown.
        return Err(text.fault(
            "has a user name or a password in front of its `@`, which is not used; leave it out",
        ));
    }
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

/// Whether an endpoint is plain HTTP to another machine: what goes there, and what comes back, can be
/// read and changed on the way. This machine is 127.0.0.0/8, `::1` and `localhost`.
pub(crate) fn is_exposed(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| {
        scheme.eq_ignore_ascii_case("http")
            && !is_this_machine(host(rest.split('/').next().unwrap_or_default()))
    })
}

/// The host of `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_this_machine(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether there is an `@` where a URL has its host.
fn has_user_info(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().is_some_and(|authority| authority.contains('@'))
}

/// Whether it is `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
fn is_authority(text: &str) -> bool {
    let (is_host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((ip, rest)) = rest.split_once(']') else { return false };
        let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')) };
        (ip.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(Some(port))),
            None => (text, None),
        };
        let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        (!host.is_empty() && host.bytes().all(is_host_byte), port)
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|it| it > 0)
    };
    is_host && port.is_none_or(|port| port.is_some_and(is_port))
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
