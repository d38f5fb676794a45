//! Sources of random bytes that are passed as an argument, so that tests control them.

use std::fmt;

/// A cryptographically secure source of random bytes.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills all of `bytes`; after an error their contents are unspecified.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed>;
}

impl dyn Random + '_ {
    /// Generates a unique identifier: `N` random bytes as lower-case hex digits.
    pub fn identifier<const N: usize>(&self) -> Result<String, RandomFailed> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(hex::encode(bytes))
    }
}

/// The error of a source that has no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes can be had")]
pub struct RandomFailed;
