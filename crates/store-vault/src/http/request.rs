//! Describes a Vault request before token and namespace are attached.

use std::fmt;
use std::sync::Arc;

use http::Method;
use kes_types::Secret;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustify::endpoint::Endpoint;

use crate::error::VaultError;

/// The characters that are not percent-encoded in a path.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A request to Vault without token and namespace.
///
/// The paths and bodies are those of the endpoints of `vaultrs`.
/// [`Transport`](crate::http::Transport) sends them, because the client of `vaultrs` drops
/// `Retry-After`, logs every 404 as an error with the name of the key, and follows redirects to any
/// host with the token.
#[derive(Clone, Debug)]
pub(crate) struct VaultRequest {
    pub(crate) target: RequestTarget,
    pub(crate) query: Option<String>,
    pub(crate) body: Secret,
    /// The capability that a policy must allow.
    pub(crate) capability: &'static str,
    /// Whether the request may be sent again without checking its target first.
    pub(crate) is_repeatable: bool,
    /// The maximum length of the response, in bytes.
    pub(crate) answer_len_max: usize,
}

/// The target of a request, as errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget {
    pub(crate) method: Method,
    /// The path below `/v1/`, not encoded.
    pub(crate) path: String,
}

/// The maximum length of a response, in bytes: an entry of 1 MiB in JSON, and its envelope.
const ANSWER_LEN_MAX: usize = 8 << 20;

/// The maximum length of a list, in bytes: several times that of 100,000 names of 80 bytes.
const LIST_LEN_MAX: usize = 64 << 20;

impl VaultRequest {
    /// Creates the request of an endpoint.
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
            // The path of one endpoint starts with a tab, some start with a slash.
            target: RequestTarget {
                method,
                path: endpoint.path().trim().trim_matches('/').to_owned(),
            },
            query: endpoint.query().map_err(request)?.filter(|query| !query.is_empty()),
            body: endpoint.body().map_err(request)?.unwrap_or_default().into(),
            answer_len_max: ANSWER_LEN_MAX,
        })
    }

    /// Creates a `GET` request for a path that no endpoint of `vaultrs` has.
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

    /// Changes the request to a list, in the form that firewalls allow: `GET …?list=true`.
    pub(crate) fn listing(mut self) -> Self {
        self.target.method = Method::GET;
        self.query = Some("list=true".to_owned());
        self.capability = "list";
        self.is_repeatable = true;
        self.answer_len_max = LIST_LEN_MAX;
        self
    }

    /// Changes the method to `PUT`.
    pub(crate) fn put(mut self) -> Self {
        self.target.method = Method::PUT;
        self
    }

    /// Marks the request as repeatable: it changes nothing, or is protected against a second
    /// execution.
    pub(crate) fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// Returns whether the request is idempotent.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.target.method == Method::GET
    }

    /// Sets the capability that a policy must allow, where the method does not imply it.
    pub(crate) fn needing(mut self, capability: &'static str) -> Self {
        self.capability = capability;
        self
    }

    /// Returns the complete URL.
    pub(crate) fn url(&self, base: &str) -> String {
        let path = utf8_percent_encode(&self.target.path, PATH);
        match &self.query {
            Some(query) => format!("{base}/v1/{path}?{query}"),
            None => format!("{base}/v1/{path}"),
        }
    }
}

impl RequestTarget {
    /// Returns the engine of the path: the part before the path components that engines define, or
    /// otherwise the first component.
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
