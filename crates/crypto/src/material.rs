//! The raw bytes of a key.

use std::fmt;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use kes_types::{Random, RandomFailed};

/// The length of every key, in bytes.
pub(crate) const MATERIAL_LEN: usize = 32;

/// 32 secret bytes: wiped when dropped, mute in `Debug`. Moving it moves a pointer, so no copy is
/// left behind on a stack.
pub(crate) struct Material(Box<Zeroizing<[u8; MATERIAL_LEN]>>);

impl Material {
    /// Fresh random bytes.
    pub(crate) fn random(random: &dyn Random) -> Result<Self, RandomFailed> {
        let mut material = Self(Box::default());
        random.fill(material.0.as_mut_slice())?;
        Ok(material)
    }

    /// A copy of exactly 32 bytes; none of any other length.
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

impl PartialEq for Material {
    /// Constant time.
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Material {}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
