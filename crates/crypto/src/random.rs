//! Randomness as an argument.

use std::fmt;

use ring::rand::SecureRandom as _;

/// A source of unpredictable bytes.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills all of `bytes`, or fails and leaves them of no use.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed>;
}

/// The operating system's random bytes.
#[derive(Clone, Debug)]
pub struct SystemRandom(ring::rand::SystemRandom);

impl SystemRandom {
    /// A handle; it holds no state.
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

/// The source of randomness gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes can be had")]
pub struct RandomFailed;
