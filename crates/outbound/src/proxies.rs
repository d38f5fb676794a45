//! HTTP proxies of the variables `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{ClientBuilder, NoProxy, Proxy};

/// The schemes of proxies that Go's library supports.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// This machine, which is never reached through a proxy, as in Go.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1/128";

/// The proxies that requests to other servers use.
///
/// They follow the rules of Go's `golang.org/x/net/http/httpproxy`, except for ports in `NO_PROXY`: an
/// entry with a port applies to all ports of its host. This machine is never reached through a proxy.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<String>,
    http: Option<String>,
    /// Hosts, domains, addresses and networks that are reached directly, separated by commas.
    direct: String,
}

/// The error for a variable with an unusable proxy; the value is not shown, since it may contain a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is no usable proxy; it wants a URL like http://proxy.example.com:3128, with http://, \
     https://, socks5:// or socks5h://"
)]
pub struct InvalidProxy {
    variable: &'static str,
}

impl Proxies {
    /// Makes proxies of the values of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; empty ones count as not set.
    pub fn new(https: &str, http: &str, no_proxy: &str) -> Self {
        let used = |value: &str| {
            let value = value.trim();
            (!value.is_empty()).then(|| value.to_owned())
        };
        Self {
            https: used(https),
            http: used(http),
            direct: format!("{THIS_MACHINE},{}", direct(no_proxy)),
        }
    }

    /// Checks whether a URL can be reached; fails if its proxy is unusable.
    pub fn check(&self, url: &str) -> Result<(), InvalidProxy> {
        let Ok(url) = url.parse::<Uri>() else { return Ok(()) };
        let (proxy, variable) = match url.scheme_str() {
            Some("http") => (&self.http, "HTTP_PROXY"),
            _ => (&self.https, "HTTPS_PROXY"),
        };
        // Whether the proxy is used for this URL does not depend on the proxy's own URL.
        let any = Matcher::builder().all("http://127.0.0.1").no(self.direct.clone()).build();
        match proxy {
            Some(proxy) if !is_usable(proxy) && any.intercept(&url).is_some() => {
                Err(InvalidProxy { variable })
            }
            _ => Ok(()),
        }
    }

    /// Adds hosts, domains, addresses and networks that are reached directly.
    #[must_use]
    pub fn and_direct(mut self, hosts: &[&str]) -> Self {
        for host in hosts {
            self.direct.push(',');
            self.direct.push_str(host);
        }
        self
    }

    /// Sets the proxies, instead of those that the HTTP library reads from the environment itself.
    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        let mut builder = builder.no_proxy();
        let usable = |proxy: &&String| is_usable(proxy);
        let https = self.https.as_ref().filter(usable).map(Proxy::https);
        let http = self.http.as_ref().filter(usable).map(Proxy::http);
        for proxy in [https, http] {
            // `check` refuses URLs with an unusable proxy.
            if let Some(Ok(proxy)) = proxy {
                builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(&self.direct)));
            }
        }
        builder
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("https", &self.https.is_some())
            .field("http", &self.http.is_some())
            .field("direct", &self.direct)
            .finish()
    }
}

/// Whether a URL is that of a supported proxy; without a scheme it is `http://`.
fn is_usable(url: &str) -> bool {
    let is_known = match url.split_once("://") {
        Some((scheme, _)) => SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()),
        None => true,
    };
    is_known && Proxy::all(url).is_ok()
}

/// Converts `NO_PROXY` to the library's notation: without ports, brackets and the star of `*.example.com`.
fn direct(no_proxy: &str) -> String {
    let entries = no_proxy.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let entries = entries.map(|entry| {
        let host = without_port(entry);
        host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host)
    });
    entries.collect::<Vec<_>>().join(",")
}

fn without_port(entry: &str) -> &str {
    if let Some((ip, _)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return ip;
    }
    match entry.split_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        // IPv6 has more colons.
        _ => entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_go_knows_are_spelt_as_the_library_does() {
        for (go, library) in [
            ("", ""),
            ("vault.corp:8200, .internal,*.example.com", "vault.corp,.internal,.example.com"),
            ("10.0.0.0/8,[fd00::1]:443,fd00::/8,*", "10.0.0.0/8,fd00::1,fd00::/8,*"),
        ] {
            assert_eq!(direct(go), library);
        }
    }

    #[test]
    fn proxies_that_cannot_be_used_are_named_where_they_are_needed_and_not_shown() {
        let bad = "ftp://user:hunter2@proxy:1080";
        let proxies = Proxies::new(bad, "http://", "direct.corp");
        assert!(!format!("{proxies:?}").contains("hunter2"));
        let error = proxies.check("https://vault.corp:8200").unwrap_err();
        assert!(error.to_string().starts_with("HTTPS_PROXY "), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let error = proxies.check("http://vault.corp").unwrap_err();
        assert!(error.to_string().starts_with("HTTP_PROXY "), "{error}");
        for direct in ["https://127.0.0.1:8200", "https://[::1]:1", "https://a.direct.corp", "x y"]
        {
            assert_eq!(proxies.check(direct), Ok(()), "{direct}");
        }
        for good in
            ["proxy:3128", "HTTPS://user:hunter2@proxy", "socks5://p:1080", "socks5h://p", " "]
        {
            let proxies = Proxies::new(good, good, "");
            assert_eq!(proxies.check("https://vault.corp"), Ok(()), "{good}");
        }
        assert_eq!(Proxies::new(bad, bad, "*").check("https://vault.corp"), Ok(()));
    }
}
