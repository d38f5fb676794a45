//! A Vault request before token and namespace are attached.

use std::fmt;
use std::sync::Arc;

use http::Method;
use kes_types::Secret;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustify::endpoint::Endpoint;

use crate::error::VaultError;

/// What stays as it is in a path.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A request to Vault without token and namespace.
///
/// What Vault's API looks like is `vaultrs`'s knowledge: paths and bodies are those of its
/// endpoints. They are sent by [`Transport`](crate::http::Transport), since `vaultrs` itself
/// drops `Retry-After`, takes every 404 for an error that it logs with the key's name, and follows
/// redirects with our token to anywhere.
#[derive(Clone, Debug)]
pub(crate) struct VaultRequest {
    pub(crate) target: RequestTarget,
    pub(crate) query: Option<String>,
    pub(crate) body: Secret,
    /// What a policy must have for it.
    pub(crate) capability: &'static str,
    /// Whether it may be sent again, later, without another look at what it is about.
    pub(crate) is_repeatable: bool,
    /// The longest answer, in bytes.
    pub(crate) answer_len_max: usize,
}

/// Where a request goes, as errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget {
    pub(crate) method: Method,
    /// Below `/v1/`, not encoded.
    pub(crate) path: String,
}

/// Answers are small: an entry of 1 MiB in JSON, and what is around it.
const ANSWER_LEN_MAX: usize = 8 << 20;

/// A list has each name of a folder: 100,000 of 80 bytes, several times over.
const LIST_LEN_MAX: usize = 64 << 20;

impl VaultRequest {
    /// Takes the request from an endpoint.
    pub(crate) fn of(endpoint: &impl Endpoint) -> Result<Self, VaultError> {
        let request = |error: rustify::errors::ClientError| VaultError::Request(Arc::new(error));
        let method: Method = endpoint.method().into();
        Ok(Self {
            capability: match method {
                Method::GET => "read",
                Method::DELETE => "delete",
                _ => "create",
            },
            is_repeatable: method == Method::GET,
            // One endpoint's path starts with a tab, some with a slash.
            target: RequestTarget {
                method,
                path: endpoint.path().trim().trim_matches('/').to_owned(),
            },
            query: endpoint.query().map_err(request)?.filter(|query| !query.is_empty()),
            body: endpoint.body().map_err(request)?.unwrap_or_default().into(),
            answer_len_max: ANSWER_LEN_MAX,
        })
    }

    /// A `GET` of a path that no endpoint of `vaultrs` has.
    pub(crate) fn get(path: &str) -> Self {
        Self {
            target: RequestTarget { method: Method::GET, path: path.trim_matches('/').to_owned() },
            query: None,
            body: Secret::default(),
            capability: "read",
            is_repeatable: true,
            answer_len_max: ANSWER_LEN_MAX,
        }
    }

    /// Makes a list of it, in the form that firewalls let pass: `GET …?list=true`.
    pub(crate) fn listing(mut self) -> Self {
        self.target.method = Method::GET;
        self.query = Some("list=true".to_owned());
        self.capability = "list";
        self.is_repeatable = true;
        self.answer_len_max = LIST_LEN_MAX;
        self
    }

    /// Makes a `PUT` of it.
    pub(crate) fn put(mut self) -> Self {
        self.target.method = Method::PUT;
        self
    }

    /// Says that it changes nothing, or guards itself against being sent twice.
    pub(crate) fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// Whether asking twice is as good as asking once.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.target.method == Method::GET
    }

    /// Says what a policy must have for it, where the method does not tell.
    pub(crate) fn needing(mut self, capability: &'static str) -> Self {
        self.capability = capability;
        self
    }

    /// The whole URL below Vault's.
    pub(crate) fn url(&self, base: &str) -> String {
        let path = utf8_percent_encode(&self.target.path, PATH);
        match &self.query {
            Some(query) => format!("{base}/v1/{path}?{query}"),
            None => format!("{base}/v1/{path}"),
        }
    }
}

impl RequestTarget {
    /// The engine that the path leads to, as far as the path tells: what is in front of the parts
    /// that engines name themselves, or else its first folder.
    pub(crate) fn engine(&self) -> String {
        let own = ["/data/", "/metadata/", "/encrypt/", "/decrypt/"];
        let head = own.iter().filter_map(|part| self.path.split_once(part)).map(|(head, _)| head);
        let first = || self.path.split('/').next().unwrap_or_default();
        head.min_by_key(|head| head.len()).unwrap_or_else(first).to_owned()
    }
}

impl fmt::Display for RequestTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

#[cfg(test)]
mod tests {
    use vaultrs::api::kv2::requests::{ListSecretsRequest, ReadSecretRequest};
    use vaultrs::api::token::requests::RenewTokenSelfRequest;

    use super::*;

    #[test]
    fn urls_are_encoded_and_clean() {
        let read = ReadSecretRequest {
            mount: "kv".to_owned(),
            path: "a b/ä%/key".to_owned(),
            version: Some(1),
        };
        let call = VaultRequest::of(&read).unwrap();
        assert_eq!(call.url("https://v"), "https://v/v1/kv/data/a%20b/%C3%A4%25/key?version=1");
        assert_eq!(call.capability, "read");
        let renew = VaultRequest::of(&RenewTokenSelfRequest::default()).unwrap();
        assert_eq!(renew.url("https://v/base"), "https://v/base/v1/auth/token/renew-self");
    }

    #[test]
    fn lists_are_gets() {
        for (path, url) in [
            ("p", "https://v/v1/kv/metadata/p?list=true"),
            ("", "https://v/v1/kv/metadata?list=true"),
        ] {
            let list = ListSecretsRequest { mount: "kv".to_owned(), path: path.to_owned() };
            let call = VaultRequest::of(&list).unwrap().listing();
            assert_eq!((call.url("https://v").as_str(), call.capability), (url, "list"));
            assert_eq!(call.target.method, Method::GET);
        }
    }
}
