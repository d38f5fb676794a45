//! Secret bytes that are wiped and never printed.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

/// Secret bytes, which are wiped when dropped, hidden in `Debug` and compared in constant time.
#[derive(Clone, Default)]
pub struct Secret(Vec<u8>);

impl Drop for Secret {
    /// Wipes slices, which is as fast as writing memory; wiping the vector would go byte by byte.
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
        self.0.spare_capacity_mut().zeroize();
    }
}

impl Secret {
    /// Takes ownership of the bytes; the vector's buffer is wiped when the secret is dropped.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the bytes; the name makes each use visible in a review.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl PartialEq for Secret {
    /// Compares contents in constant time; the lengths are not hidden.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_contents() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "[secret]");
    }
}
