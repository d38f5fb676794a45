//! JSON bodies of requests and responses.
//!
//! Requests are decoded leniently: unknown fields are ignored, a missing byte string equals an empty
//! one, and `null` equals missing. Byte strings are standard base64 with padding.

mod error;
mod identity;
mod key;
mod log;
mod policy;
mod status;

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroize as _;

use crate::Secret;

pub use error::{ErrorBody, message};
pub use identity::{IdentityInfo, IdentityPage, SelfInfo};
pub use key::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, GenerateRequest,
    GenerateResponse, HmacRequest, HmacResponse, ImportRequest, KeyInfo, KeyPage,
};
pub use log::{AuditEvent, AuditRequest, AuditResponse, ErrorEvent};
pub use policy::{PolicyInfo, PolicyPage, PolicyRules, Rule, RuleSet};
pub use status::{ApiRoute, Status, Version};

/// Bytes that are not secret and are base64 in JSON.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        encode(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        decode(deserializer).map(Self)
    }
}

/// Base64 of secret bytes, chosen field by field, since a [`Secret`] does not implement serde's traits.
mod secret_base64 {
    use super::{Deserializer, Secret, Serializer, decode};

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        super::encode(secret.expose(), to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        decode(from).map(Secret::new)
    }
}

/// Writes base64 and wipes its buffer, since the bytes may be secret.
fn encode<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&Digits(bytes))
}

/// The base64 of bytes. The library's own `Base64Display` leaves its last digits on the stack.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// The bytes of one chunk: a multiple of three, so that only the last chunk is padded.
    const BYTES: usize = 768;
}

impl fmt::Display for Digits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; Self::BYTES / 3 * 4];
        let written = self.0.chunks(Self::BYTES).try_for_each(|bytes| {
            let len = STANDARD.encode_slice(bytes, &mut digits).map_err(|_| fmt::Error)?;
            f.write_str(std::str::from_utf8(&digits[..len]).map_err(|_| fmt::Error)?)
        });
        digits.as_mut_slice().zeroize();
        written
    }
}

/// Decodes base64; `null` is empty.
fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    /// A text that borrows from the input where it has no escapes.
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    match Option::<Text<'de>>::deserialize(deserializer)? {
        None => Ok(Vec::new()),
        Some(Text(text)) => STANDARD
            .decode(text.as_bytes())
            .map_err(|_| de::Error::custom("not standard base64 with padding")),
    }
}

/// Decodes a text; `null` is empty.
fn text_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}
