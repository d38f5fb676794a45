//! Recorded test vectors: stored keys, ciphertexts, identities and traffic.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// API keys that the documentation of KES and `MinIO` shows, with their identities.
pub const PUBLISHED_API_KEYS: [(&str, &str); 4] = [
    (
        "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc",
        "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22",
    ),
    (
        "kes:v1:AGaV6VXHasF0FnaB60WdCOeTZ8eTIDikL4zlN16c8NAs",
        "ea9826089311fe44d7590408ede9150f7c637b6cab0a91ee6fe1aa5d9fb366f6",
    ),
    (
        "kes:v1:ADsGCjJoWziQ82wPUG6oHbqhhlbkajaRGP+3+JSfx5Wq",
        "7bbffa635fc160ef8048a344a53aab54e472e5c654c6339a9cec9223301808c7",
    ),
    (
        "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23",
    ),
];

/// `wire.jsonl`: a request and what is to be answered, in order, against a fresh store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Its name.
    pub id: String,
    /// Who asks: `admin`, `client-ed25519` (policy `minio`), `other` (no policy).
    pub identity: String,
    /// The method.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// The body, sent without its length; missing means none at all.
    pub body: Option<String>,
    /// A body made of a head, a unit repeated n times, and a tail.
    pub body_repeat: Option<(String, String, usize, String)>,
    /// Fields of the answer to keep, by the name that later requests use.
    #[serde(default)]
    pub save: BTreeMap<String, String>,
    /// What KES answers, where this differs.
    pub kes: Option<Value>,
    /// What is to be answered.
    pub want: Want,
}

/// What is to be answered. Only what is there counts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// The status.
    pub status: u16,
    /// The message of an error, exactly.
    pub message: Option<String>,
    /// The body.
    pub json: Option<Value>,
    /// The names of the fields of the object, exactly.
    pub fields: Option<Vec<String>>,
    /// No body, `Content-Length: 0`.
    #[serde(default)]
    pub empty: bool,
    /// The body is an array.
    #[serde(default)]
    pub array: bool,
    /// The `Allow` header.
    pub allow: Option<String>,
    /// The body is an error with any message.
    #[serde(default)]
    pub json_error: bool,
}

/// `minio-traffic.jsonl`: a request of a real `MinIO` and the answer that it got.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// What `Content-Length` said, -1 when it was not there.
    pub content_length: i64,
    /// The headers.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body.
    pub body: String,
    /// The status that it got.
    pub status: u16,
    /// The body that it got.
    pub answer: String,
}

/// `formats.json`: what lies in key directories and in buckets.
#[derive(Debug, Deserialize)]
pub struct Formats {
    /// Stored keys.
    pub keys: Vec<StoredKey>,
    /// Ciphertexts under them.
    pub ciphertexts: Vec<Ciphertext>,
    /// HMACs by them.
    pub hmacs: Vec<Hmac>,
    /// API keys and certificates with their identities.
    pub identities: Vec<Identified>,
    /// Stored values that are no keys.
    pub refused_stored: Vec<Refused>,
}

/// A stored key.
#[derive(Debug, Deserialize)]
pub struct StoredKey {
    /// Its name.
    pub name: String,
    /// 1 is JSON, 2 is protobuf.
    pub generation: u8,
    /// The content of its file.
    pub stored: String,
    /// What `describe` says of it.
    pub describe: Value,
    /// Status and message of an HMAC request, where it is refused.
    pub hmac_answer: Option<(u16, String)>,
}

/// A ciphertext; byte strings are base64.
#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the fields are the file's")]
pub struct Ciphertext {
    /// The key's name; empty where the file has but one key.
    #[serde(default)]
    pub key: String,
    /// The context.
    pub context: String,
    /// What was sealed.
    pub plaintext: String,
    /// What came out.
    pub ciphertext: String,
}

/// An HMAC; byte strings are base64.
#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the fields are the file's")]
pub struct Hmac {
    /// The key's name.
    pub key: String,
    /// The message.
    pub message: String,
    /// Its HMAC.
    pub hmac: String,
}

/// An API key or a certificate, and the identity it stands for.
#[derive(Debug, Deserialize)]
pub struct Identified {
    /// The API key.
    pub api_key: Option<String>,
    /// The certificate, PEM.
    pub certificate: Option<String>,
    /// The identity.
    pub identity: String,
}

/// A stored value that is no key.
#[derive(Debug, Deserialize)]
pub struct Refused {
    /// Its name.
    pub name: String,
    /// The content of its file, base64.
    pub stored_b64: String,
    /// The status that KES answers; 0 when it crashes.
    pub status: u16,
    /// The message that KES answers.
    pub message: String,
}

/// `minio-static-key.json`: ciphertexts of `MinIO`'s built-in single key.
#[derive(Debug, Deserialize)]
pub struct StaticKey {
    /// `<name>:<base64 of 32 bytes>`.
    pub minio_kms_secret_key: String,
    /// Ciphertexts under it.
    pub ciphertexts: Vec<Ciphertext>,
}

/// The exchanges of `wire.jsonl`.
pub fn wire() -> Vec<Exchange> {
    read("wire.jsonl").lines().map(parse).collect()
}

/// The stored keys and the traffic of `minio-traffic.jsonl`.
///
/// # Panics
/// If the file is not what it was.
pub fn traffic() -> (BTreeMap<String, String>, Vec<Recorded>) {
    #[derive(Deserialize)]
    struct Head {
        keys: BTreeMap<String, String>,
    }
    let text = read("minio-traffic.jsonl");
    let mut lines = text.lines();
    let head: Head = parse(lines.next().expect("the file has a first line"));
    (head.keys, lines.map(parse).collect())
}

/// `formats.json`.
pub fn formats() -> Formats {
    parse(&read("formats.json"))
}

/// `minio-static-key.json`.
pub fn static_key() -> StaticKey {
    parse(&read("minio-static-key.json"))
}

/// A row of `store-entries.json`: what KES leaves in an engine of Vault's.
#[derive(Debug, Deserialize)]
pub struct StoreEntry {
    /// The entry's data.
    pub data: BTreeMap<String, String>,
    /// How KES was configured.
    pub config: StoreConfig,
}

/// How KES was configured.
#[derive(Debug, Deserialize)]
pub struct StoreConfig {
    /// `v1` or `v2`.
    pub version: String,
    /// The folder inside the mount.
    #[serde(default)]
    pub prefix: String,
    /// Whether the value is sealed by the transit engine.
    #[serde(default)]
    pub transit: Option<serde::de::IgnoredAny>,
}

/// The rows of `store-entries.json` that are Vault's.
///
/// # Panics
/// If the file is not what it was.
pub fn vault_entries() -> Vec<StoreEntry> {
    let all: BTreeMap<String, serde_json::Value> = parse(&read("store-entries.json"));
    let vault = all.into_iter().filter(|(name, _)| name.starts_with("vault_"));
    vault.map(|(_, row)| serde_json::from_value(row).expect("a row of Vault's")).collect()
}

/// The row of `store-entries.json` that is AWS's: a secret as KES leaves it.
#[derive(Debug, Deserialize)]
pub struct AwsSecret {
    /// Its name.
    pub secret_id: String,
    /// Its value.
    #[serde(rename = "SecretString")]
    pub value: String,
}

/// The row of `store-entries.json` that is AWS's.
///
/// # Panics
/// If the file is not what it was.
pub fn aws_secret() -> AwsSecret {
    let mut all: BTreeMap<String, serde_json::Value> = parse(&read("store-entries.json"));
    let row = all.remove("aws").expect("a row of AWS's");
    serde_json::from_value(row).expect("a row of AWS's")
}

fn read(name: &str) -> String {
    let path = crate::repository().join("tests/vectors").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:.200}"))
}
