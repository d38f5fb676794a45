//! The address of a key server.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The port of a key server.
const PORT: u16 = 7373;
/// The port of an `https://` URL that names none.
const HTTPS_PORT: u16 = 443;

/// The address of a key server: `https://<host>:<port>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A DNS name or an IP address, the latter without brackets.
    host: Box<str>,
    port: u16,
}

impl Endpoint {
    /// Whether the host is `localhost` or a loopback address, which are not reached through a
    /// proxy.
    pub fn is_loopback(&self) -> bool {
        let is_loopback = |ip: IpAddr| ip.is_loopback();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(is_loopback)
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    /// Parses `host`, `host:port`, `[v6]:port` or an `https://` URL without a path. Without a port
    /// it is 7373; with `https://` in front it is that scheme's 443.
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let (default_port, authority) = match text.trim().split_once("://") {
            None => (PORT, text.trim()),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (HTTPS_PORT, rest),
            Some(_) => return Err(InvalidEndpoint::Scheme),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = split(authority).ok_or(InvalidEndpoint::Form)?;
        let port = match port {
            None => default_port,
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or(InvalidEndpoint::Port)?
            }
        };
        Ok(Self { host: host.into(), port })
    }
}

impl fmt::Display for Endpoint {
    /// Writes `https://<host>:<port>`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "https://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "https://{}:{}", self.host, self.port)
        }
    }
}

/// An error of a text that is not the address of a key server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// The scheme is not `https`.
    #[error("a key server is reached over https:// only")]
    Scheme,
    /// Neither `host` nor `host:port`.
    #[error("an address is <host>, <host>:<port> or https://<host>:<port>, without a path")]
    Form,
    /// The port is not a number from 1 to 65535.
    #[error("a port is a number from 1 to 65535")]
    Port,
}

/// Splits host and port; none if the host is not a DNS name or IP address.
fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Some((authority, None));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_host_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (!host.is_empty() && host.bytes().all(is_host_byte)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_scheme_and_port() {
        for (text, url) in [
            ("127.0.0.1:7373", "https://127.0.0.1:7373"),
            ("127.0.0.1", "https://127.0.0.1:7373"),
            (" https://kes.example.com:8443/ ", "https://kes.example.com:8443"),
            ("HTTPS://kes.example.com", "https://kes.example.com:443"),
            ("kes_0.kes-hl", "https://kes_0.kes-hl:7373"),
            ("[::1]:1", "https://[::1]:1"),
            ("https://[::1]", "https://[::1]:443"),
            ("::1", "https://[::1]:7373"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), url, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("http://kes:7373", InvalidEndpoint::Scheme),
            ("", InvalidEndpoint::Form),
            ("https://", InvalidEndpoint::Form),
            (":7373", InvalidEndpoint::Form),
            ("kes:7373/v1", InvalidEndpoint::Port),
            ("kes/v1", InvalidEndpoint::Form),
            ("user@kes", InvalidEndpoint::Form),
            ("a b", InvalidEndpoint::Form),
            ("[::1", InvalidEndpoint::Form),
            ("[::1]x", InvalidEndpoint::Form),
            ("[kes]:1", InvalidEndpoint::Form),
            ("kes:", InvalidEndpoint::Port),
            ("kes:0", InvalidEndpoint::Port),
            ("kes:65536", InvalidEndpoint::Port),
            ("kes:7373:1", InvalidEndpoint::Port),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text}");
        }
    }
}
