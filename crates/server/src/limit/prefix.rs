//! The prefix of a source address by which peers are counted before their identity is known.

use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 address, or the first 64 bits of an IPv6 address: what one subscriber usually has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Prefix {
    V4(Ipv4Addr),
    V6([u16; 4]),
}

impl Prefix {
    /// The prefix of an address. An IPv4 address that is written as IPv6 is an IPv4 address.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_counts_whole_and_ipv6_by_its_first_half() {
        let prefix = |text: &str| Prefix::of(text.parse().unwrap());
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
        assert_eq!(prefix("::ffff:192.0.2.1"), prefix("192.0.2.1"));
        assert_eq!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:2:ffff::9"));
        assert_ne!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:3::1"));
    }
}
