//! Sources of random bytes that are passed as an argument, so that tests control them.

use std::fmt;

use ring::rand::SecureRandom as _;

/// A cryptographically secure source of random bytes.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills all of `bytes`; after an error their contents are unspecified.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed>;
}

/// The operating system's random bytes.
#[derive(Clone, Debug)]
pub struct SystemRandom(ring::rand::SystemRandom);

impl SystemRandom {
    /// Makes a handle, which holds no state.
    pub fn new() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        self.0.fill(bytes).map_err(|_| RandomFailed)
    }
}

/// The error of a source that has no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes can be had")]
pub struct RandomFailed;
