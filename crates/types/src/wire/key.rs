use serde::{Deserialize, Serialize};

use super::{Base64, secret_base64, text_or_null};
use crate::{KeyName, Secret, Timestamp};

/// `PUT /v1/key/import/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportRequest {
    /// The raw key, 32 bytes.
    #[serde(with = "secret_base64")]
    pub key: Secret,
    /// The cipher's name, of today or of older releases.
    #[serde(deserialize_with = "text_or_null")]
    pub cipher: String,
}

/// `PUT /v1/key/generate/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerateRequest {
    /// Associated data that the ciphertext is bound to.
    pub context: Base64,
}

/// The answer to [`GenerateRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub struct GenerateResponse {
    /// The data key, 32 bytes.
    #[serde(with = "secret_base64")]
    pub plaintext: Secret,
    /// The data key sealed by the named key.
    pub ciphertext: Base64,
}

/// `PUT /v1/key/encrypt/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EncryptRequest {
    /// What to seal.
    #[serde(with = "secret_base64")]
    pub plaintext: Secret,
    /// Associated data that the ciphertext is bound to.
    pub context: Base64,
}

/// The answer to [`EncryptRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub struct EncryptResponse {
    /// The sealed plaintext.
    pub ciphertext: Base64,
}

/// `PUT /v1/key/decrypt/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DecryptRequest {
    /// What to open.
    pub ciphertext: Base64,
    /// The associated data it was sealed with.
    pub context: Base64,
}

/// The answer to [`DecryptRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub struct DecryptResponse {
    /// The opened plaintext.
    #[serde(with = "secret_base64")]
    pub plaintext: Secret,
}

/// `PUT /v1/key/hmac/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HmacRequest {
    /// What to authenticate.
    #[serde(with = "secret_base64")]
    pub message: Secret,
}

/// The answer to [`HmacRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub struct HmacResponse {
    /// HMAC-SHA-256 of the message, 32 bytes; callers derive credentials from it.
    #[serde(with = "secret_base64")]
    pub hmac: Secret,
}

/// The answer to `GET /v1/key/describe/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The key's name.
    pub name: KeyName,
    /// `AES256` or `ChaCha20`.
    pub algorithm: String,
    /// When it was created; year 1 for a stored key that does not say.
    pub created_at: Timestamp,
    /// Who created it, as stored; absent for a stored key that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// The answer to `GET /v1/key/list/<pattern>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// Names in byte order.
    pub names: Vec<KeyName>,
    /// The first name of the next page, if there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub continue_at: String,
}
