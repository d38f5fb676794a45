//! Identities of callers: hashes of their public keys.

use std::fmt;
use std::str::FromStr;

use ring::digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The identity of a caller: the SHA-256 of its public key's DER `SubjectPublicKeyInfo`.
///
/// Its text is 64 lowercase hex digits; identities are ordered like their texts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 32]);

impl Identity {
    /// Computes the identity of a DER `SubjectPublicKeyInfo`.
    pub fn of_public_key(spki_der: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, spki_der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Self(bytes)
    }

    /// The length of an identity's text, in hex digits.
    pub const TEXT_LEN: usize = 64;

    /// Writes the hex digits into `buffer` and returns them; allocates nothing.
    pub fn text<'a>(&self, buffer: &'a mut [u8; Self::TEXT_LEN]) -> &'a str {
        // The buffer has exactly the length of the digits, which are ASCII: neither call can fail.
        let _ = hex::encode_to_slice(self.0, buffer);
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

impl FromStr for Identity {
    type Err = InvalidIdentity;

    /// Parses 64 hex digits of either case.
    fn from_str(text: &str) -> Result<Self, InvalidIdentity> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidIdentity)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text(&mut [0; Self::TEXT_LEN]))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text(&mut [0; Self::TEXT_LEN]))
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The error for a text that is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an identity is 64 hex digits")]
pub struct InvalidIdentity;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_case_is_lowered_and_lengths_are_exact() {
        let lower = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";
        let identity: Identity = lower.to_uppercase().parse().unwrap();
        assert_eq!(identity.to_string(), lower);
        assert!(lower[1..].parse::<Identity>().is_err());
        assert!(format!("{lower}0").parse::<Identity>().is_err());
        assert!("disabled".parse::<Identity>().is_err());
    }
}
