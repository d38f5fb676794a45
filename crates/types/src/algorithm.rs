//! The ciphers a key can be for.

use std::fmt;

/// The cipher of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// AES-256-GCM with a sub-key derived by HMAC-SHA-256.
    Aes256,
    /// ChaCha20-Poly1305 with a sub-key derived by `HChaCha20`.
    ChaCha20,
}

impl Algorithm {
    /// Reads a cipher's name as stored keys, requests and configuration files spell it; the
    /// spellings of older releases are `AES256-GCM_SHA256` and `XCHACHA20-POLY1305`.
    pub fn parse(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "AES256" | "AES256-GCM_SHA256" => Ok(Self::Aes256),
            "ChaCha20" | "XCHACHA20-POLY1305" => Ok(Self::ChaCha20),
            _ => Err(UnknownAlgorithm(name.to_owned())),
        }
    }

    /// Today's spelling.
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

/// A cipher name that no release of the protocol knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("algorithm '{0}' is not supported")]
pub struct UnknownAlgorithm(pub String);
