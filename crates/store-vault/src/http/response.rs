//! Parses and classifies responses of Vault.

use std::time::Duration;

use kes_types::Secret;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::VaultError;
use crate::http::request::RequestTarget;

/// A complete response with any status.
#[derive(Debug)]
pub(crate) struct VaultResponse {
    pub(crate) target: RequestTarget,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Secret,
}

/// The relevant fields of the envelope of all responses of Vault.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<T> {
    pub(crate) data: Option<T>,
    pub(crate) auth: Option<Auth>,
}

/// A token in the response to a login or a renewal.
#[derive(Debug, Deserialize)]
pub(crate) struct Auth {
    #[serde(deserialize_with = "secret")]
    pub(crate) client_token: Secret,
    /// The remaining lifetime of the token in seconds; 0 means unlimited.
    #[serde(default)]
    pub(crate) lease_duration: u64,
    #[serde(default)]
    pub(crate) renewable: bool,
}

/// A response other than a success.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Refusal {
    errors: Option<Vec<String>>,
    warnings: Option<Vec<String>>,
    data: Option<serde::de::IgnoredAny>,
    request_id: Option<serde::de::IgnoredAny>,
}

impl VaultResponse {
    /// Returns whether the request succeeded.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Parses the body as JSON.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, VaultError> {
        serde_json::from_slice(self.body.expose()).map_err(|error| VaultError::NotUnderstood {
            target: self.target.clone(),
            // A data error of serde_json can contain the data.
            source: Some(error).filter(|error| !error.is_data()),
        })
    }

    /// Parses the field `data` of a success.
    pub(crate) fn data<T: DeserializeOwned>(&self) -> Result<T, VaultError> {
        self.parse::<Envelope<T>>()?.data.ok_or_else(|| self.not_understood())
    }

    /// Returns whether Vault itself reports that nothing exists at the path: status 404 and a JSON
    /// object without errors or warnings. A missing mount, an engine of the other version, a
    /// deleted entry and the 404 of a proxy all look different.
    pub(crate) fn is_absence(&self) -> bool {
        self.status == 404
            && self.refusal().is_some_and(|refusal| {
                refusal.errors.is_some_and(|errors| errors.is_empty())
                    && refusal.warnings.is_none_or(|warnings| warnings.is_empty())
                    && refusal.data.is_none()
            })
    }

    /// Returns whether the response is from a proxy or load balancer instead of Vault. Such a
    /// response proves nothing about the state of Vault.
    pub(crate) fn is_foreign(&self) -> bool {
        self.refusal().is_none_or(|refusal| {
            let Refusal { errors, warnings, data, request_id } = refusal;
            errors.is_none() && warnings.is_none() && data.is_none() && request_id.is_none()
        })
    }

    /// Returns whether an error or warning contains this text.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.reasons().iter().any(|reason| reason.contains(words))
    }

    /// Returns the errors of Vault, or its warnings if there are no errors.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let refusal = self.refusal().unwrap_or_default();
        let errors = refusal.errors.unwrap_or_default();
        if errors.is_empty() { refusal.warnings.unwrap_or_default() } else { errors }
    }

    /// Converts an unexpected response to an error.
    pub(crate) fn into_error(self) -> VaultError {
        let Self { status, retry_after, .. } = self;
        let (target, errors) = (self.target.clone(), self.reasons());
        if status == 503 && self.says("sealed") {
            return VaultError::Sealed;
        }
        if self.is_unrouted() {
            return VaultError::NotMounted(target.engine());
        }
        if self.is_foreign() && !(500..=599).contains(&status) && status != 429 {
            return VaultError::Foreign { target, status };
        }
        match status {
            // 412: the node lags behind; 472 and 473: the node serves no clients.
            412 | 429 | 472 | 473 | 500..=599 => {
                VaultError::Unavailable { target, status, errors, retry_after }
            }
            _ => VaultError::Unexpected { target, status, errors },
        }
    }

    /// Returns the error for a response with a valid status and an invalid body.
    pub(crate) fn not_understood(&self) -> VaultError {
        VaultError::NotUnderstood { target: self.target.clone(), source: None }
    }

    /// Returns whether Vault reports that no engine handles the path.
    pub(crate) fn is_unrouted(&self) -> bool {
        self.status == 404 && self.says("no handler for route")
    }

    fn refusal(&self) -> Option<Refusal> {
        serde_json::from_slice(self.body.expose()).ok()
    }
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::from)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn answer(status: u16, body: &str) -> VaultResponse {
        VaultResponse {
            target: RequestTarget { method: Method::GET, path: "kv/data/p/x".to_owned() },
            status,
            retry_after: None,
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn only_vault_s_bare_404_is_an_absence() {
        assert!(answer(404, r#"{"errors":[]}"#).is_absence());
        assert!(answer(404, r#"{"errors":[],"warnings":null,"data":null}"#).is_absence());
        for (status, body) in [
            (200, r#"{"errors":[]}"#),
            (403, r#"{"errors":[]}"#),
            (503, r#"{"errors":[]}"#),
            (404, ""),
            (404, "{}"),
            (404, "[]"),
            (404, "<html>not found</html>"),
            (404, r#"{"errors":["no handler for route \"kv/data/p/x\""]}"#),
            (404, r#"{"errors":["namespace not found"]}"#),
            (
                404,
                r#"{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}"#,
            ),
            (
                404,
                r#"{"errors":[],"warnings":["Invalid path for a versioned K/V secrets engine."]}"#,
            ),
            (404, r#"{"data":{"data":null,"metadata":{"destroyed":true}},"warnings":null}"#),
            (404, r#"{"errors":[],"data":{}}"#),
        ] {
            assert!(!answer(status, body).is_absence(), "{status} {body}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (status, body, words) in [
            (503, r#"{"errors":["Vault is sealed"]}"#, "Vault is sealed"),
            (
                404,
                r#"{"errors":["no handler for route \"kv/x\". route entry not found."]}"#,
                "engine 'kv' is not mounted",
            ),
            (502, "<html>", "GET kv/data/p/x was answered with HTTP 502: no reason given"),
            (
                404,
                "<html>not found</html>",
                "GET kv/data/p/x was answered with HTTP 404 by something that is not Vault",
            ),
            (400, r#"{"errors":["a","b"]}"#, "GET kv/data/p/x was answered with HTTP 400: a b"),
        ] {
            assert_eq!(answer(status, body).into_error().to_string(), words);
        }
        assert!(answer(429, "").into_error().is_transient());
        assert!(answer(404, "").into_error().is_transient());
        assert!(answer(404, "{}").into_error().is_transient());
        assert!(!answer(404, r#"{"errors":["x"]}"#).into_error().is_transient());
    }

    #[test]
    fn an_error_of_the_parser_does_not_show_what_it_read() {
        let error =
            answer(200, r#"{"auth":{"client_token":"hunter2","lease_duration":"hunter2"}}"#)
                .parse::<Envelope<()>>()
                .unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
