//! HTTP proxies, as `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name them.

use std::fmt;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{ClientBuilder, NoProxy, Proxy};

/// The kinds of proxies, as Go's library knows them.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];

/// This machine, which is never reached through a proxy, as Go has it.
const THIS_MACHINE: &str = "localhost,127.0.0.0/8,::1/128";

/// The proxies through which other servers are reached.
///
/// By the rules of Go's `golang.org/x/net/http/httpproxy`, but for ports in `NO_PROXY`: an entry with a
/// port stands for all ports of its host. This machine is never reached through a proxy.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<String>,
    http: Option<String>,
    /// What is reached directly: hosts, domains, addresses and networks, separated by commas.
    direct: String,
}

/// A variable names a proxy that cannot be used. The value is not shown: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{variable} is no usable proxy; it wants a URL like http://proxy.example.com:3128, with http://, \
     https://, socks5:// or socks5h://"
)]
pub struct InvalidProxy {
    variable: &'static str,
}

impl Proxies {
    /// Takes the values of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; empty ones count as not set.
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

    /// Whether a URL can be reached: an error if a proxy is in the way that cannot be used.
    pub fn check(&self, url: &str) -> Result<(), InvalidProxy> {
        let Ok(url) = url.parse::<Uri>() else { return Ok(()) };
        let (proxy, variable) = match url.scheme_str() {
            Some("http") => (&self.http, "HTTP_PROXY"),
            _ => (&self.https, "HTTPS_PROXY"),
        };
        // Whether it is asked at all is not a question of its own form.
        let any = Matcher::builder().all("http://127.0.0.1").no(self.direct.clone()).build();
        match proxy {
            Some(proxy) if !is_usable(proxy) && any.intercept(&url).is_some() => {
                Err(InvalidProxy { variable })
            }
            _ => Ok(()),
        }
    }

    /// Reaches these directly too: hosts, domains, addresses and networks.
    #[must_use]
    pub fn and_direct(mut self, hosts: &[&str]) -> Self {
        for host in hosts {
            self.direct.push(',');
            self.direct.push_str(host);
        }
        self
    }

    /// Replaces what the HTTP library would take from the environment by itself.
    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        let mut builder = builder.no_proxy();
        let usable = |proxy: &&String| is_usable(proxy);
        let https = self.https.as_ref().filter(usable).map(Proxy::https);
        let http = self.http.as_ref().filter(usable).map(Proxy::http);
        for proxy in [https, http] {
            // What needs one that cannot be used is refused by `check`.
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

/// Whether it is the URL of a proxy of a kind that is known; without a scheme it is `http://`.
fn is_usable(url: &str) -> bool {
    let is_known = match url.split_once("://") {
        Some((scheme, _)) => SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()),
        None => true,
    };
    is_known && Proxy::all(url).is_ok()
}

/// `NO_PROXY` in the library's spelling: without ports, brackets and the star of `*.example.com`.
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
