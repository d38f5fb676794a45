//! Encodes and decodes stored keys: the value under a key's name in a key store.
//!
//! Two formats exist. Both are decoded, the second one is written:
//!
//! 1. A JSON object `{"bytes":base64,"algorithm":"…","created_at":"…","created_by":"…"}`. Only `bytes`,
//!    32 of them, are required. The default algorithm is AES256. Such a key has no HMAC key.
//! 2. Base64 (standard, padded) of a protobuf `KeyVersion`: see the source of `proto`.
//!
//! A value that is valid JSON has the first format, every other value the second one.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use kes_types::{Algorithm, InvalidTimestamp, Secret, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use crate::Key;
use crate::cipher::Cipher;
use crate::key::HmacKey;
use crate::key_material::KeyMaterial;
use crate::proto::{KeyVersion, ProtoError, Time, TypedKey};

/// The maximum length of a stored key, in bytes: 1 MiB.
pub const VALUE_LEN_MAX: usize = 1 << 20;

/// `SecretKey.type` of AES256.
const TYPE_AES256: u32 = 1;
/// `SecretKey.type` of `ChaCha20`.
const TYPE_CHACHA20: u32 = 2;
/// `HmacKey.hash` of SHA-256.
const HASH_SHA256: u32 = 1;

/// Base64 that ignores the unused bits before the padding, since older writers did not clear them.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Encodes a key as text of the second format, to be stored.
pub fn encode(key: &Key) -> Secret {
    let created_at = key.created_at();
    let version = KeyVersion {
        key: Some(TypedKey {
            bytes: key.material().expose(),
            kind: match key.algorithm() {
                Algorithm::Aes256 => TYPE_AES256,
                Algorithm::ChaCha20 => TYPE_CHACHA20,
            },
        }),
        hmac_key: key
            .hmac_material()
            .map(|material| TypedKey { bytes: material.expose(), kind: HASH_SHA256 }),
        created_at: Some(Time {
            seconds: created_at.unix_seconds(),
            nanos: created_at.subsec_nanos().cast_signed(),
        }),
        created_by: key.created_by().unwrap_or_default(),
    };
    // With enough capacity the message is not moved, which would leave a copy of the keys in memory.
    let mut message = Zeroizing::new(Vec::with_capacity(256 + version.created_by.len()));
    version.encode(&mut message);
    Secret::from(BASE64.encode(message.as_slice()))
}

/// Decodes a stored key of either format.
pub fn decode(value: &[u8]) -> Result<Key, RecordError> {
    if value.len() > VALUE_LEN_MAX {
        Err(RecordError::TooLong)
    } else if value.is_empty() {
        Err(RecordError::Empty)
    } else if serde_json::from_slice::<IgnoredAny>(value).is_ok() {
        decode_json(value)
    } else {
        decode_proto(value)
    }
}

/// The reasons why a stored value is not a key; they never contain the value, which may be key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is longer than 1 MiB.
    #[error("the value is longer than 1 MiB")]
    TooLong,
    /// It is empty.
    #[error("the value is empty")]
    Empty,
    /// It is JSON, but not an object with the fields of a key.
    #[error("the value is JSON but not a key: line {line}, column {column}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It is neither JSON nor base64, or its JSON field `bytes` is not base64.
    #[error("the value is not standard base64 with padding")]
    Base64,
    /// It is base64, but not of a protobuf message.
    #[error("the value is not a protobuf message")]
    Proto(#[source] ProtoError),
    /// It contains no key.
    #[error("the value holds no key")]
    NoKey,
    /// The key is not 32 bytes long.
    #[error("the key is {0} bytes long instead of 32")]
    KeySize(usize),
    /// The HMAC key is not 32 bytes long.
    #[error("the HMAC key is {0} bytes long instead of 32")]
    HmacKeySize(usize),
    /// The name of the key's algorithm is not known.
    #[error("the key's algorithm is not supported")]
    Algorithm,
    /// The number of the key's algorithm is not known.
    #[error("the key's type {0} is not supported")]
    Type(u32),
    /// The hash of the HMAC key is not known.
    #[error("the HMAC key's hash {0} is not supported")]
    Hash(u32),
    /// The creation time is not valid.
    #[error("the creation time cannot be read")]
    CreatedAt(#[source] InvalidTimestamp),
}

/// Decodes base64 and ignores line breaks.
pub(crate) fn decode_base64(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let decoded = if text.iter().any(is_break) {
        let mut joined = Zeroizing::new(Vec::with_capacity(text.len()));
        joined.extend(text.iter().filter(|byte| !is_break(byte)));
        BASE64.decode(&*joined)
    } else {
        BASE64.decode(text)
    };
    decoded.ok().map(Zeroizing::new)
}

/// A text that is borrowed where it has no escapes, so that no copy of it has to be wiped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The first format. `null` equals missing; other fields are ignored.
#[derive(Deserialize)]
struct JsonKey<'a> {
    #[serde(borrow)]
    bytes: Option<Text<'a>>,
    #[serde(borrow)]
    algorithm: Option<Text<'a>>,
    #[serde(borrow)]
    created_at: Option<Text<'a>>,
    #[serde(borrow)]
    created_by: Option<Text<'a>>,
}

fn decode_json(value: &[u8]) -> Result<Key, RecordError> {
    // The message of the JSON error can quote the value.
    let key: JsonKey<'_> = serde_json::from_slice(value)
        .map_err(|error| RecordError::Json { line: error.line(), column: error.column() })?;
    let bytes = key.bytes.ok_or(RecordError::NoKey)?;
    let bytes = decode_base64(bytes.0.as_bytes()).ok_or(RecordError::Base64)?;
    let material = KeyMaterial::copy_of(&bytes).ok_or(RecordError::KeySize(bytes.len()))?;
    let algorithm = match key.algorithm {
        None => Algorithm::Aes256,
        Some(name) if name.0.is_empty() => Algorithm::Aes256,
        Some(name) => Algorithm::parse(&name.0).map_err(|_| RecordError::Algorithm)?,
    };
    let created_at = match key.created_at {
        None => Timestamp::ZERO,
        Some(text) => text.0.parse().map_err(RecordError::CreatedAt)?,
    };
    let created_by = key.created_by.as_ref().map_or("", |text| &text.0);
    Ok(Key::from_parts(Cipher::new(algorithm, material), None, created_at, created_by))
}

fn decode_proto(value: &[u8]) -> Result<Key, RecordError> {
    let message = decode_base64(value).ok_or(RecordError::Base64)?;
    let version = KeyVersion::decode(&message).map_err(RecordError::Proto)?;
    let key = version.key.ok_or(RecordError::NoKey)?;
    let material = KeyMaterial::copy_of(key.bytes).ok_or(RecordError::KeySize(key.bytes.len()))?;
    let algorithm = match key.kind {
        TYPE_AES256 => Algorithm::Aes256,
        TYPE_CHACHA20 => Algorithm::ChaCha20,
        other => return Err(RecordError::Type(other)),
    };
    let hmac = version.hmac_key.map(decode_hmac_key).transpose()?;
    let created_at = match version.created_at {
        None => Timestamp::ZERO,
        Some(time) => {
            // A negative number becomes a number that is out of range.
            let nanos = time.nanos.cast_unsigned();
            Timestamp::from_unix(time.seconds, nanos).map_err(RecordError::CreatedAt)?
        }
    };
    let cipher = Cipher::new(algorithm, material);
    Ok(Key::from_parts(cipher, hmac, created_at, version.created_by))
}

fn decode_hmac_key(key: TypedKey<'_>) -> Result<HmacKey, RecordError> {
    if key.kind != HASH_SHA256 {
        return Err(RecordError::Hash(key.kind));
    }
    let material = KeyMaterial::copy_of(key.bytes);
    material.map(HmacKey::new).ok_or(RecordError::HmacKeySize(key.bytes.len()))
}
