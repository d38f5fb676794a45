//! Reads the address that the server listens on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

/// The default port.
const DEFAULT_PORT: u16 = 7373;

/// An address to listen on, `host:port`, and the socket addresses that it stands for.
///
/// As with Go's `net.Listen`, no host (`:7373`) and the unspecified addresses of either family
/// (`0.0.0.0`, `[::]`) all mean every interface, over IPv6 and IPv4. A host name is looked up once,
/// when the address is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    text: String,
    candidates: Vec<SocketAddr>,
}

impl ListenAddress {
    /// The socket addresses to try: the first that can be bound is the one to listen on. `[::]` is
    /// meant to take IPv4 connections too (`IPV6_V6ONLY` off); `0.0.0.0` follows it for machines
    /// without IPv6.
    pub fn candidates(&self) -> Vec<SocketAddr> {
        self.candidates.clone()
    }

    fn everywhere(text: &str, port: u16) -> Self {
        let unspecified: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        let candidates = unspecified.map(|ip| SocketAddr::new(ip, port)).to_vec();
        Self { text: text.to_owned(), candidates }
    }
}

impl Default for ListenAddress {
    /// Every interface, port 7373.
    fn default() -> Self {
        Self::everywhere("0.0.0.0:7373", DEFAULT_PORT)
    }
}

impl fmt::Display for ListenAddress {
    /// The address as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    /// Reads `host:port`. The host is empty, an IP address (IPv6 in brackets) or a name, the port a
    /// number; port 0 takes any free port.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress::Shape)?;
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidAddress::Port);
        }
        let port = port.parse::<u16>().map_err(|_| InvalidAddress::Port)?;
        if host.is_empty() {
            return Ok(Self::everywhere(text, port));
        }
        let candidates = match text.parse::<SocketAddr>() {
            // Zones of IPv6 addresses are not supported.
            Ok(address) if !host.contains('%') => vec![address],
            Err(_) if is_host_name(host) => {
                (host, port).to_socket_addrs().map_err(InvalidAddress::Unknown)?.collect()
            }
            _ => return Err(InvalidAddress::Shape),
        };
        if candidates.iter().any(|address| address.ip().is_unspecified()) {
            return Ok(Self::everywhere(text, port));
        }
        Ok(Self { text: text.to_owned(), candidates })
    }
}

/// The reason why a text is not an address to listen on.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAddress {
    /// Not `host:port`.
    #[error("an address is `host:port`, for example `0.0.0.0:7373`, `:7373` or `[::1]:7373`")]
    Shape,
    /// The port is not a port number.
    #[error("the port of an address is a number from 0 to 65535, as in `0.0.0.0:7373`")]
    Port,
    /// The host's name cannot be looked up.
    #[error("the host of the address cannot be looked up; an IP address needs no look-up")]
    Unknown(#[source] std::io::Error),
}

fn is_host_name(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && host.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(text: &str) -> Vec<String> {
        let address: ListenAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
        address.candidates().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn no_host_and_unspecified_hosts_are_every_interface() {
        for text in [":7373", "0.0.0.0:7373", "[::]:7373"] {
            assert_eq!(candidates(text), ["[::]:7373", "0.0.0.0:7373"], "{text}");
        }
        assert_eq!(ListenAddress::default(), "0.0.0.0:7373".parse().unwrap());
    }

    #[test]
    fn a_given_host_is_that_host() {
        assert_eq!(candidates("127.0.0.1:0"), ["127.0.0.1:0"]);
        assert_eq!(candidates("[::1]:443"), ["[::1]:443"]);
        assert!(candidates("localhost:1").iter().all(|c| c == "127.0.0.1:1" || c == "[::1]:1"));
    }

    #[test]
    fn half_an_address_is_refused() {
        for text in [
            "",
            "7373",
            "0.0.0.0",
            "0.0.0.0:",
            ":",
            "::1:7373",
            "[::1]",
            "[::1",
            "1.2.3.4:65536",
            "1.2.3.4:+1",
            "1.2.3.4:https",
            "https://1.2.3.4:7373",
            "1.2.3:80",
            "a b:80",
            "[a]:1",
            "[fe80::1%1]:1",
            "[127.0.0.1]:1",
            "1.2.3.4.5:1",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
