//! Checks of the DNS names in certificates.

/// The longest name, in characters.
const NAME_LEN_MAX: usize = 253;
/// The longest label, in characters.
const LABEL_LEN_MAX: usize = 63;

/// Checks a `dNSName` of a certificate.
///
/// Its labels consist of letters, digits, `-` and `_`, with dots between them (RFC 1034, with the
/// underscore that Windows networks use). The first of several labels may be `*` (RFC 6125).
pub fn check_dns_name(name: &str) -> Result<(), InvalidDnsName> {
    let labels = name.strip_prefix("*.").unwrap_or(name);
    if name.len() <= NAME_LEN_MAX && labels.split('.').all(is_label) {
        Ok(())
    } else {
        Err(InvalidDnsName)
    }
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_LEN_MAX).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// The error for a name that no TLS client compares with a server's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host name is up to 253 letters, digits, '-' and '_' in parts of 1 to 63 with dots between \
     them, as in 'kes.example.com' or '*.example.com'"
)]
pub struct InvalidDnsName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_clients_compare_are_host_names() {
        let (long, longest) = ("a".repeat(63), ["a"; 127].join("."));
        assert_eq!(longest.len(), 253);
        for name in [
            "a",
            "localhost",
            "KES.example.com",
            "*.example.com",
            "my_host",
            "xn--bcher-kva.example",
            "1.2.3.4",
            &long,
            &longest,
        ] {
            assert_eq!(check_dns_name(name), Ok(()), "{name}");
        }
        let (too_long, too_long_in_all) = ("a".repeat(64), format!("{longest}.a"));
        for name in [
            "",
            " ",
            "a b",
            ".",
            "a.",
            ".a",
            "a..b",
            "*",
            "*.",
            "*.*",
            "*.*.a",
            "a.*",
            "a*.b",
            "-a",
            "a-",
            "a.-b",
            "b\u{fc}cher.example",
            "https://a",
            "a:7373",
            "a,b",
            "a\n",
            &too_long,
            &too_long_in_all,
        ] {
            assert_eq!(check_dns_name(name), Err(InvalidDnsName), "{name}");
        }
    }
}
