//! API keys: credentials of callers as one line of text.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_types::{Identity, Random, RandomFailed, Secret};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::key_material::{KeyMaterial, MATERIAL_LEN};

/// The prefix of the text, which is optional when an API key is parsed.
const HEAD: &str = "kes:v1:";

/// The type byte of an Ed25519 key, which stands before the seed.
const TYPE_ED25519: u8 = 0;

/// The DER of a `SubjectPublicKeyInfo` up to the Ed25519 public key (RFC 8410).
const SPKI_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A caller's Ed25519 private key, whose text is `kes:v1:` and the base64 of a zero byte and the 32-byte
/// seed.
///
/// `Debug` hides the key and there is no `Display`: only [`ApiKey::text`] returns its text.
pub struct ApiKey {
    seed: KeyMaterial,
    identity: Identity,
}

impl ApiKey {
    /// Generates a new key.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomFailed> {
        let seed = KeyMaterial::random(random)?;
        // Any 32 bytes are a seed; ring refuses only other lengths.
        Self::from_material(seed).map_err(|_| RandomFailed)
    }

    /// Makes an API key of the 32 bytes of an Ed25519 seed (RFC 8032).
    pub fn from_seed(seed: &[u8]) -> Result<Self, InvalidApiKey> {
        Self::from_material(KeyMaterial::copy_of(seed).ok_or(InvalidApiKey::Length)?)
    }

    /// The identity of callers that use the key.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The key as text, with `kes:v1:`.
    pub fn text(&self) -> Secret {
        let mut bytes = Zeroizing::new([TYPE_ED25519; 1 + MATERIAL_LEN]);
        bytes[1..].copy_from_slice(self.seed.expose());
        // With enough capacity the text is not moved, which would leave a copy of the key in memory.
        let mut text = String::with_capacity(64);
        text.push_str(HEAD);
        STANDARD.encode_string(bytes.as_slice(), &mut text);
        Secret::from(text)
    }

    pub(crate) fn seed(&self) -> &[u8; MATERIAL_LEN] {
        self.seed.expose()
    }

    /// Boxed so that the allocator wipes the key pair when it is freed; ring does not wipe it.
    pub(crate) fn key_pair(&self) -> Result<Box<Ed25519KeyPair>, InvalidApiKey> {
        key_pair(&self.seed)
    }

    fn from_material(seed: KeyMaterial) -> Result<Self, InvalidApiKey> {
        let mut spki = SPKI_HEAD.to_vec();
        spki.extend_from_slice(key_pair(&seed)?.public_key().as_ref());
        Ok(Self { seed, identity: Identity::of_public_key(&spki) })
    }
}

impl FromStr for ApiKey {
    type Err = InvalidApiKey;

    /// Parses the text, with or without `kes:v1:`.
    fn from_str(text: &str) -> Result<Self, InvalidApiKey> {
        let encoded = text.strip_prefix(HEAD).unwrap_or(text);
        let bytes = STANDARD.decode(encoded).map_err(|_| InvalidApiKey::Encoding)?;
        let bytes = Zeroizing::new(bytes);
        match bytes.split_first() {
            Some((&TYPE_ED25519, seed)) => Self::from_seed(seed),
            Some(_) => Err(InvalidApiKey::Type),
            None => Err(InvalidApiKey::Length),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("identity", &self.identity).finish_non_exhaustive()
    }
}

fn key_pair(seed: &KeyMaterial) -> Result<Box<Ed25519KeyPair>, InvalidApiKey> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose());
    pair.map(Box::new).map_err(|_| InvalidApiKey::Length)
}

/// The reasons why a text is not an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiKey {
    /// Not standard base64.
    #[error("an API key is 'kes:v1:' followed by standard base64")]
    Encoding,
    /// Not a type byte and 32 bytes.
    #[error("an API key has a type and 32 bytes")]
    Length,
    /// A type other than Ed25519.
    #[error("the API key's type is not supported")]
    Type,
}
