//! Random bytes of the operating system.

use kes_types::{Random, RandomFailed};
use ring::rand::SecureRandom as _;

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
