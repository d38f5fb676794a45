//! Randomness as an argument.

use std::fmt;

/// A source of unpredictable bytes.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills all of `bytes`, or fails and leaves them of no use.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed>;
}

impl dyn Random + '_ {
    /// An identifier that no other call returns: `N` random bytes as lower-case hex digits.
    pub fn identifier<const N: usize>(&self) -> Result<String, RandomFailed> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(hex::encode(bytes))
    }
}

/// The source of randomness failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes can be had")]
pub struct RandomFailed;
