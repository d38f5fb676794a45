//! Raw key material.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use kes_types::{Random, RandomFailed};

/// The length of every key, in bytes.
pub(crate) const MATERIAL_LEN: usize = 32;

/// The 32 secret bytes of a key, which are wiped when dropped and hidden in `Debug`.
///
/// They are boxed: moving the value moves a pointer, so no copy stays on a stack.
pub(crate) struct KeyMaterial(Box<Zeroizing<[u8; MATERIAL_LEN]>>);

impl KeyMaterial {
    /// Generates random material.
    pub(crate) fn random(random: &dyn Random) -> Result<Self, RandomFailed> {
        let mut material = Self(Box::default());
        random.fill(material.0.as_mut_slice())?;
        Ok(material)
    }

    /// Copies 32 bytes; `None` for any other length.
    pub(crate) fn copy_of(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MATERIAL_LEN] = bytes.try_into().ok()?;
        let mut material = Self(Box::default());
        material.0.copy_from_slice(bytes);
        Some(material)
    }

    pub(crate) fn expose(&self) -> &[u8; MATERIAL_LEN] {
        &self.0
    }
}

impl PartialEq for KeyMaterial {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for KeyMaterial {}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
