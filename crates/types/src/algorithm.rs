//! The algorithms that a key can be used with.

use std::fmt;

/// The algorithm that a key encrypts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// AES-256-GCM with a sub-key derived by HMAC-SHA-256.
    Aes256,
    /// ChaCha20-Poly1305 with a sub-key derived by `HChaCha20`.
    ChaCha20,
}

impl Algorithm {
    /// Parses an algorithm's name as stored keys, requests and configuration files spell it.
    ///
    /// The names `AES256-GCM_SHA256` and `XCHACHA20-POLY1305` of older releases are accepted too.
    pub fn parse(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "AES256" | "AES256-GCM_SHA256" => Ok(Self::Aes256),
            "ChaCha20" | "XCHACHA20-POLY1305" => Ok(Self::ChaCha20),
            _ => Err(UnknownAlgorithm(name.to_owned())),
        }
    }

    /// The name that is written today.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::ChaCha20 => "ChaCha20",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error for a name that is not an algorithm of any release of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("algorithm '{0}' is not supported")]
pub struct UnknownAlgorithm(pub String);
