//! Reads the environment variables for HTTP proxies.

use std::fmt;

use crate::environment::{Environment, NotText};

/// The values of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, or of their names in lower case; empty
/// where neither is set. `Debug` shows none of them: they may hold passwords.
#[derive(Clone, Default)]
pub struct ProxyVariables {
    /// The proxy for `https://` URLs.
    pub https: String,
    /// The proxy for `http://` URLs.
    pub http: String,
    /// What is reached without a proxy, separated by commas.
    pub no_proxy: String,
}

impl ProxyVariables {
    /// Reads the variables; one that is set and empty counts as not set.
    pub fn read(environment: &dyn Environment) -> Result<Self, NotText> {
        let value = |names: [&str; 2]| {
            for name in names {
                match environment.variable(name)? {
                    Some(value) if !value.is_empty() => return Ok(value),
                    _ => {}
                }
            }
            Ok(String::new())
        };
        Ok(Self {
            https: value(["HTTPS_PROXY", "https_proxy"])?,
            http: value(["HTTP_PROXY", "http_proxy"])?,
            no_proxy: value(["NO_PROXY", "no_proxy"])?,
        })
    }
}

impl fmt::Debug for ProxyVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyVariables")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn either_case_counts_and_upper_case_comes_first() {
        let variables = [
            ("https_proxy", "lower"),
            ("HTTP_PROXY", "upper"),
            ("http_proxy", "lower"),
            ("NO_PROXY", ""),
            ("no_proxy", "a,b"),
        ];
        let environment: BTreeMap<_, _> =
            variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let proxies = ProxyVariables::read(&environment).unwrap();
        assert_eq!((proxies.https.as_str(), proxies.http.as_str()), ("lower", "upper"));
        assert_eq!(proxies.no_proxy, "a,b");
        assert_eq!(format!("{proxies:?}"), "ProxyVariables");
    }
}
