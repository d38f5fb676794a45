//! JSON bodies of the key API.

use serde::{Deserialize, Serialize};

use super::{Base64, secret_base64, text_or_null};
use crate::{KeyName, Secret, Timestamp};

/// The request of `PUT /v1/key/import/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImportRequest {
    /// The raw key, 32 bytes.
    #[serde(with = "secret_base64")]
    pub key: Secret,
    /// The algorithm's name, current or of older releases.
    #[serde(deserialize_with = "text_or_null")]
    pub cipher: String,
}

/// The request of `PUT /v1/key/generate/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerateRequest {
    /// Associated data that the ciphertext is bound to.
    pub context: Base64,
}

/// The response to [`GenerateRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub struct GenerateResponse {
    /// The data key, 32 bytes.
    #[serde(with = "secret_base64")]
    pub plaintext: Secret,
    /// The data key, encrypted by the named key.
    pub ciphertext: Base64,
}

/// The request of `PUT /v1/key/encrypt/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EncryptRequest {
    /// The plaintext to encrypt.
    #[serde(with = "secret_base64")]
    pub plaintext: Secret,
    /// Associated data that the ciphertext is bound to.
    pub context: Base64,
}

/// The response to [`EncryptRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub struct EncryptResponse {
    /// The encrypted plaintext.
    pub ciphertext: Base64,
}

/// The request of `PUT /v1/key/decrypt/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DecryptRequest {
    /// The ciphertext to decrypt.
    pub ciphertext: Base64,
    /// The associated data that it was encrypted with.
    pub context: Base64,
}

/// The response to [`DecryptRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub struct DecryptResponse {
    /// The decrypted plaintext.
    #[serde(with = "secret_base64")]
    pub plaintext: Secret,
}

/// The request of `PUT /v1/key/hmac/<name>`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HmacRequest {
    /// The message to authenticate.
    #[serde(with = "secret_base64")]
    pub message: Secret,
}

/// The response to [`HmacRequest`].
#[derive(Debug, Serialize, Deserialize)]
pub struct HmacResponse {
    /// HMAC-SHA-256 of the message, 32 bytes; callers derive credentials from it.
    #[serde(with = "secret_base64")]
    pub hmac: Secret,
}

/// The response of `GET /v1/key/describe/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The key's name.
    pub name: KeyName,
    /// `AES256` or `ChaCha20`.
    pub algorithm: String,
    /// When the key was created; the year 1 if its record has no time.
    pub created_at: Timestamp,
    /// The identity that created the key, as stored; absent if its record has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// The response of `GET /v1/key/list/<pattern>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// Names in byte order.
    pub names: Vec<KeyName>,
    /// The first name of the next page; empty on the last page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub continue_at: String,
}
